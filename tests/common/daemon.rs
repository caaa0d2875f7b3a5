//! The real program as a child process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait_for;

/// How long a daemon may take to say that it is ready: generous, because tests run side by side on few cores.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A running daemon. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    pub dir: PathBuf,
    /// The document of the ready line.
    pub ready: Value,
    child: Child,
    log: Arc<Mutex<String>>,
}

/// A command on the node in `dir`, ready to run.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfed"));
    // Nothing of the caller's environment or home directory may leak in, but for where coverage is written.
    command.env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"));
    // What a killed command leaves behind goes with the folder of its test.
    command.env("TMPDIR", dir);
    command
        .current_dir(dir)
        .arg("--state-dir")
        .arg(dir)
        .args(args)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// Runs a command with `--json` and reads its one document; also returns the exit code.
pub fn run_json(dir: &Path, args: &[&str]) -> (i32, Value) {
    let output = run(dir, &[args, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let document =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text:?}"));
    (output.status.code().unwrap(), document)
}

impl Daemon {
    /// Starts a daemon in `dir` and waits until it is ready.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same with options for `run`.
    pub fn start_with(dir: &Path, options: &[&str]) -> Self {
        let args = [&["run", "--json"], options].concat();
        Self::start_command(dir, command(dir, &args))
    }

    /// The same by way of a shell, which runs `before` and then becomes the daemon.
    pub fn start_after(dir: &Path, before: &str, options: &[&str]) -> Self {
        let args = [&["run", "--json"], options].concat();
        let daemon = command(dir, &args);
        let mut shell = Command::new("/bin/sh");
        shell
            .env_clear()
            .current_dir(dir)
            .arg("-c")
            .arg(format!("{before}; exec \"$0\" \"$@\""))
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .stdin(Stdio::null());
        Self::start_command(dir, shell)
    }

    /// The same by way of another program, such as `nsenter`, which is given the daemon's command line.
    pub fn start_by(dir: &Path, by: &[&str], options: &[&str]) -> Self {
        let args = [&["run", "--json"], options].concat();
        let daemon = command(dir, &args);
        let mut other = Command::new(by[0]);
        other
            .env_clear()
            .current_dir(dir)
            .args(&by[1..])
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .stdin(Stdio::null());
        Self::start_command(dir, other)
    }

    /// The same by a command made ready elsewhere.
    pub fn of(dir: &Path, command: Command) -> Self {
        Self::start_command(dir, command)
    }

    fn start_command(dir: &Path, mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let out = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&out));
        let ready = wait_for("the ready line", READY_LIMIT, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!(
                    "the daemon ended early with {status}:\n{}",
                    log.lock().unwrap()
                );
            }
            let text = out.lock().unwrap();
            text.lines()
                .next()
                .filter(|_| text.contains('\n'))
                .map(|line| serde_json::from_str(line).unwrap())
        });
        Self {
            dir: dir.to_owned(),
            ready,
            child,
            log,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> String {
        self.ready["listen"][0].as_str().unwrap().to_owned()
    }

    /// Its identity.
    pub fn peer_id(&self) -> String {
        self.ready["peer_id"].as_str().unwrap().to_owned()
    }

    /// Where it listens, and who it is.
    pub fn full_addr(&self) -> String {
        format!("{}/p2p/{}", self.addr(), self.peer_id())
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Runs a command on it and reads the document.
    pub fn json(&self, args: &[&str]) -> Value {
        let (code, document) = run_json(&self.dir, args);
        assert_eq!(code, 0, "{args:?}: {document}");
        document
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of the daemon", limit, || child.try_wait().unwrap())
    }

    /// Asks it to stop; returns how it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        self.signal(Signal::TERM);
        (self.wait(Duration::from_secs(10)), started.elapsed())
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ids of the connected peers.
    pub fn connected(&self) -> Vec<String> {
        self.ids(|peer| peer["connection"]["state"] == "connected")
    }

    /// Ids of the known peers.
    pub fn known(&self) -> Vec<String> {
        self.ids(|_| true)
    }

    fn ids(&self, keep: impl Fn(&Value) -> bool) -> Vec<String> {
        let list = self.json(&["peers", "list"]);
        let peers = list["peers"].as_array().unwrap().iter();
        peers
            .filter(|peer| keep(peer))
            .map(|peer| peer["peer_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Tasks alive in a daemon, the one that answers this included.
pub fn tasks(daemon: &Daemon) -> u64 {
    daemon.json(&["status"])["tasks"].as_u64().unwrap()
}

/// Gathers lines in the background, so that the daemon never blocks on a full pipe.
fn collect(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
}
