//! The least a libp2p program does: TCP, Noise, Yamux, identify, ping and one request protocol. Connections are measured
//! against it.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};

/// Largest frame of the protocol.
const MAX_FRAME_BYTES: usize = 65_536;

/// What every node of the floor does.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) frames: request_response::Behaviour<Frames>,
}

/// A frame: four bytes of length, then so many bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames;

impl Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    io.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(frame).await
}

/// A node that listens nowhere yet.
pub(crate) fn node() -> Result<Swarm<Behaviour>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|error| text(&error))?
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new(
                "/bench/1".to_owned(),
                key.public(),
            )),
            ping: ping::Behaviour::default(),
            frames: request_response::Behaviour::new(
                [(
                    StreamProtocol::new("/bench/frames/1"),
                    ProtocolSupport::Full,
                )],
                request_response::Config::default(),
            ),
        })
        .map_err(|error| text(&error))?
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(std::time::Duration::from_secs(3600))
        })
        .build())
}

/// Listens on a free port of 127.0.0.1 and answers every frame with itself, for ever.
pub(crate) async fn listen(swarm: &mut Swarm<Behaviour>) -> Result<Multiaddr, String> {
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/0"
        .parse()
        .map_err(|error: libp2p::multiaddr::Error| error.to_string())?;
    swarm.listen_on(addr).map_err(|error| error.to_string())?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address);
        }
    }
}

/// Answers every frame with itself, for ever.
pub(crate) async fn echo(mut swarm: Swarm<Behaviour>) {
    loop {
        if let SwarmEvent::Behaviour(BehaviourEvent::Frames(request_response::Event::Message {
            message:
                request_response::Message::Request {
                    request, channel, ..
                },
            ..
        })) = swarm.select_next_some().await
        {
            // The peer may be gone; it measures nothing then.
            drop(swarm.behaviour_mut().frames.send_response(channel, request));
        }
    }
}
