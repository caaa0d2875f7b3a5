//! Every bound and every interval of the protocol, by name.
//!
//! Nothing that a peer can make grow is without an entry here; `docs/PROTOCOL.md` shows the same table. Frame, record
//! and address bounds that other components share are in [`btcfed_core::limits`].

use std::time::Duration;

use btcfed_core::config::{BanPolicy, RateLimit};
use btcfed_core::limits;

/// The lowest protocol version this implementation speaks.
pub const VERSION_MIN: u32 = 1;

/// The highest protocol version this implementation speaks.
pub const VERSION_MAX: u32 = 1;

/// The ability to answer [`Mode::Sample`](crate::message::Mode::Sample) and [`Mode::Stripe`](crate::message::Mode::Stripe).
pub const FEATURE_STRIPES: u64 = 1;

/// The ability to read compressed frames.
pub const FEATURE_ZSTD: u64 = 2;

/// Optional abilities this implementation offers, one bit each. One is used only when both sides offer it.
pub const FEATURES: u64 = FEATURE_STRIPES | FEATURE_ZSTD;

// --- one frame ---------------------------------------------------------------------------------------------------

/// Most records in one answer: with two addresses each they fill a frame nearly.
pub const MAX_RECORDS_PER_FRAME: usize = 256;

/// Most records in one announcement: small enough to be checked within a few milliseconds.
pub const MAX_RECORDS_PER_ANNOUNCEMENT: usize = 64;

/// Most records of other nodes in one error.
pub const MAX_ALTERNATIVES: usize = 8;

/// Longest agent text, in bytes.
pub const MAX_AGENT_BYTES: usize = limits::MAX_AGENT_BYTES;

/// Longest federation id, in bytes: a name, a domain or a hash in hexadecimal.
pub const MAX_FEDERATION_BYTES: usize = 128;

/// Longest text of an error, in bytes: one line of a log.
pub const MAX_ERROR_TEXT_BYTES: usize = 256;

/// Largest signed record, in bytes.
pub const MAX_RECORD_BYTES: usize = limits::MAX_RECORD_BYTES;

/// Room kept free in a frame for everything that is not a record, when a page is filled.
pub const FRAME_HEADROOM_BYTES: usize = 4096;

/// The longest pause an error can ask for: a remote must not silence this node towards it for good.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Frames up to this size are not worth compressing: keys and signatures are most of them.
pub const COMPRESS_ABOVE_BYTES: usize = 1024;

/// How hard to compress: higher levels gain less than a hundredth on records, and take ten times the time.
pub const COMPRESSION_LEVEL: i32 = 1;

// --- one peer ----------------------------------------------------------------------------------------------------

/// Most peers with a conversation at a time: above every sensible connection limit.
pub const MAX_SESSIONS: usize = 4096;

/// Most peers at a time that are told that there is no room. More are hung up on without a word.
pub const MAX_TURNED_AWAY: usize = 256;

/// How long a peer for whom there is no room has to ask its first question.
pub const TURN_AWAY_PATIENCE: Duration = Duration::from_secs(2);

/// For how long a peer is asked to stay away when there is no room; up to twice that, so that they do not all come back at once.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Most peers remembered to have asked this node to stay away. The one that may be asked first is forgotten.
pub const MAX_WAITS: usize = 1024;

/// Most announcements to one peer without an answer yet. More are batched until one is answered.
pub const MAX_ANNOUNCEMENTS_IN_FLIGHT: usize = 2;

/// Most records waiting to be announced to one peer. The oldest goes first; the next synchronisation repairs it.
pub const MAX_OUTBOX: usize = 2048;

/// Most records one peer is remembered to have, so that they are not announced to it again.
pub const MAX_KNOWN_TO_PEER: usize = 1024;

/// Announcements to one peer are at least this far apart; the first goes out at once.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(25);

/// Frames a peer may send in one burst, unless configured otherwise.
pub const MESSAGE_BURST: u32 = RateLimit::DEFAULT.message_burst();

/// Frames a peer may send per second in the long run, unless configured otherwise.
pub const MESSAGES_PER_SECOND: u32 = RateLimit::DEFAULT.messages_per_minute / 60;

/// Records a peer may send unasked in one burst, unless configured otherwise.
pub const UNSOLICITED_BURST: u32 = RateLimit::DEFAULT.burst;

/// Records a peer may send unasked per second in the long run, unless configured otherwise.
pub const UNSOLICITED_PER_SECOND: u32 = RateLimit::DEFAULT.records_per_minute / 60;

/// Most peers that are gone and whose budgets are remembered, so that a new connection is no new budget.
pub const MAX_PARKED_BUDGETS: usize = 1024;

/// How many times faster the budgets of a throttled peer are used up.
pub const THROTTLE_FACTOR: u32 = 4;

// --- answers ---------------------------------------------------------------------------------------------------------

/// What a record takes in a list, for budgets: with two addresses about 205 bytes.
pub const BUDGET_BYTES_PER_RECORD: usize = 256;

/// Over an hour a peer is sent answers of at most this many times what the own list takes.
pub const ANSWER_LISTS_PER_HOUR: usize = 2;

/// Lists that are shorter count as if they took so much: comparisons of short lists cost something, too.
pub const ANSWER_LIST_MIN_BYTES: usize = 1 << 20;

/// Bytes of answers to a peer in one burst: the longest list fits, in case all of it is asked of one peer.
pub const ANSWER_BURST_BYTES: u32 = 3 << 20;

/// Bytes of answers to a peer per second in the long run.
pub const ANSWER_BYTES_PER_SECOND: u32 = 1 << 16;

// --- announcements -----------------------------------------------------------------------------------------------

/// Most ids in one announcement.
pub const MAX_IDS_PER_ANNOUNCEMENT: usize = 512;

/// Most versions waiting to be told to one peer by their ids. The oldest goes first; the next round repairs it.
pub const MAX_HINTS: usize = 2048;

/// So few records that a round found are news on their way: they are passed on by their ids only.
pub const FEW_NEWS: usize = 4;

/// So many round trips ids for a link beside the tree are gathered: with the way they take and [`GRAFT_PATIENCE`] longer than
/// the tree takes to bring the record from one end of ten thousand nodes to the other.
pub const HINT_ROUND_TRIPS: u32 = 5;

/// How long ids are gathered at least.
pub const HINT_DELAY: Duration = Duration::from_millis(100);

/// How much longer the side of a link with the larger key gathers ids, at least; a round trip if that is more. Most of what
/// it would tell it is told meanwhile.
pub const HINT_TURN: Duration = Duration::from_millis(50);

/// With so many links along which records come and go a node begins no other one along the tree: a bootstrap that a whole
/// federation starts with would send every record to everybody.
pub const MAX_BRANCHES: usize = 128;

/// How long a node with more links than [`MAX_BRANCHES`] gathers ids at least: everybody would hear of a record from it
/// before the record comes along the tree, and ask it.
pub const CROWD_DELAY: Duration = Duration::from_secs(1);

/// How long a record that was told of by its id may take to arrive on another way, at least; a round trip if that is more.
pub const GRAFT_PATIENCE: Duration = Duration::from_millis(50);

/// The longest round trip that counts, so that a peer that is slow to answer does not keep ids back for long.
pub const MAX_ROUND_TRIP: Duration = Duration::from_millis(500);

/// How long a record that was asked for may take before somebody else is asked.
pub const GRAFT_RETRY: Duration = Duration::from_secs(1);

/// Most peers that are remembered to have told of one missing record.
pub const MAX_TELLERS: usize = 4;

/// Most records that were told of and have not arrived. More are left to the next round.
pub const MAX_MISSING_IDS: usize = 1024;

/// Most ids of versions that arrived lately. The oldest is forgotten; told of again, it is fetched once more.
pub const MAX_SEEN_IDS: usize = 8192;

/// Versions of one owner's record that are passed on at once.
pub const OWNER_RELAY_BURST: u32 = 3;

/// In the long run one version of an owner's record is passed on in so many seconds; others are stored only.
pub const OWNER_SECONDS_PER_RELAY: u32 = 10;

/// Most owners whose budget is remembered. The oldest is forgotten.
pub const MAX_OWNER_BUDGETS: usize = 4096;

/// New identities of one peer that are passed on at once; more are stored and left to the rounds of others.
pub const NEW_IDENTITY_BURST: u32 = 256;

/// New identities of one peer that are passed on per second in the long run.
pub const NEW_IDENTITIES_PER_SECOND: u32 = 4;

// --- synchronisation -----------------------------------------------------------------------------------------------

/// Most pages of one round: they hold more than the largest list.
pub const MAX_PAGES_PER_ROUND: u32 = 512;

/// Rounds that fetch pages at the same time. Others wait, so that a newcomer does not fetch one list many times over.
pub const MAX_PARALLEL_ROUNDS: usize = 2;

/// How long a node whose list agreed with others' leaves all slots but one empty after it began a round: of many connections that
/// come up at once one shows the difference, and the others are the same then.
pub const ROUND_PATIENCE: Duration = Duration::from_secs(1);

/// Most versions of records that are remembered to have been replaced here, one of each owner. The oldest is forgotten; a peer
/// that still lists it is asked for it in vain.
pub const MAX_REPLACED: usize = 1024;

/// Lists up to this length are fetched without a slot: those of newcomers.
pub const SHORT_LIST: u32 = 16;

/// Most records in a sample: enough to dial on from, and it is what one bootstrap node sends to everybody.
pub const SAMPLE: usize = 16;

/// Most parts the hash space may be cut into.
pub const MAX_STRIPES: u32 = 64;

/// Neighbours a newcomer fetches from at least, if it has so many: none is asked for more than its share of the parts before
/// [`STRIPE_WAIT`] is over.
pub const STRIPES: u32 = 4;

/// Records of a part on average: so few that a part nearly always fits into a page.
pub const RECORDS_PER_STRIPE: u32 = 200;

/// Most pages of one part: a part nearly always fits into one, of the largest records into four. The rounds that follow find what
/// is left.
pub const MAX_PAGES_PER_PART: u32 = 8;

/// Most parts that are asked for at the same time of one neighbour, beside the first.
pub const MAX_PARTS_IN_FLIGHT: usize = 16;
const _: () = assert!(MAX_PARTS_IN_FLIGHT < RateLimit::MESSAGE_BURST_MIN as usize);

/// How long a newcomer waits for neighbours to ask for parts, before one neighbour is asked for several.
pub const STRIPE_WAIT: Duration = Duration::from_millis(400);

/// How long an answer about a part may take before another neighbour is asked for it. Pages one by one hold a part for
/// [`MAX_PAGES_PER_PART`] times as long at most, and no longer than [`DOWNLOAD_LIMIT`].
pub const STRIPE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a download in parts may take. What is missing then is found by the rounds that follow.
pub const DOWNLOAD_LIMIT: Duration = Duration::from_secs(20);

/// Cells in the first answer about different lists: enough for 10 differences nearly always, for 20 mostly.
pub const FIRST_CELLS: usize = 36;

/// Cells in the first answer beyond one and a half for each difference that the lengths of the lists show: with them one block
/// in a hundred is not enough.
pub const SPARE_CELLS: usize = 24;

/// Most cells of one reconciliation: enough for about 2 900 differences, and they fit into one frame.
pub const MAX_CELLS: usize = 4096;

/// Most bytes the cells of a block take: 8 of id, 4 of check and one of count each, and some more for large counts.
pub const MAX_CELL_BYTES: usize = MAX_CELLS * 15;

/// How long the rows of cells are that are kept ready: a longer one is made when the first one asks for it.
pub const ROW_LENGTHS: [usize; 3] = [64, 512, MAX_CELLS];

/// Most rows of cells kept ready: the own one and those of 16 neighbours, of about 100 kB each. The one that was not used for
/// the longest time goes first.
pub const MAX_ROWS: usize = 17;

/// Most changes of a row that are remembered, so that later blocks fit the first one.
pub const MAX_ROW_LOG: usize = 1024;

/// Most versions that a row's table of ids takes in before it is made anew, when it is needed next.
pub const MAX_FRESH_IDS: usize = 4096;

/// Most salts for which the root of the own list is kept ready. The one that was not used for the longest time goes first.
pub const MAX_ROOTS: usize = 64;

/// Most keys remembered to have changed lately; differences are looked for among them before the list is walked.
pub const MAX_RECENT_CHANGES: usize = 1024;

/// How long a node uses its salts: long enough that nearly no question walks a list, and too short to be worth crafting
/// records for.
pub const SALT_LIFETIME: Duration = Duration::from_secs(3600);

/// Most ids in one question for records.
pub const MAX_WANTED: usize = 1024;

/// Most lists that are remembered as they were, so that later blocks of cells fit the first one. The oldest goes first.
pub const MAX_SNAPSHOTS: usize = 16;

/// Most versions one peer has and this node declined, which are counted as if they were in its list towards that peer.
pub const MAX_DECLINED: usize = 256;

/// How long a request may take, beside the limit of the network itself.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The shortest time between two periodic synchronisations, used after a difference was found.
pub const SYNC_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long the side that was dialled waits for the first word of the other before it speaks itself.
pub const HELLO_PATIENCE: Duration = Duration::from_millis(250);

/// How long a connection stays open after a refusal, so that the reason arrives.
pub const CLOSE_GRACE: Duration = Duration::from_millis(250);

/// How long to leave a peer alone after it failed or refused without saying for how long.
pub const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Most accepted records that the store has not shown yet.
pub const MAX_PENDING_RECORDS: usize = 4096;

/// How long an accepted record counts as known while the store does not show it.
pub const PENDING_TTL: Duration = Duration::from_secs(10);

/// Contradictions of owners that are looked at per frame: each costs a signature check.
pub const MAX_CONTRADICTIONS_PER_FRAME: usize = 4;

/// Most owners remembered to have contradicted themselves, so that it is told once. The oldest is forgotten.
pub const MAX_EQUIVOCATORS: usize = 256;

// --- leases --------------------------------------------------------------------------------------------------------

/// How long a record counts after the last news of its owner. Owners renew theirs three times within it.
pub const LEASE: Duration = Duration::from_secs(24 * 3600);

/// So long before the end of its lease a record is told to nobody: two nodes that learned it at different times would
/// differ for so long.
pub const LEASE_MARGIN: Duration = Duration::from_secs(LEASE.as_secs() / 10);

/// The age a record has at most when a node starts, whatever its stored times and the clock say: ten hours are left until it
/// is told no more, within which every live owner renews its own.
pub const RESTORED_AGE_MAX: Duration = Duration::from_secs(11 * 3600);

// --- the list as a whole ---------------------------------------------------------------------------------------------

/// What a bound on the whole list comes to when the list may hold `max_peers` instead of [`limits::MAX_PEERS`]: the same
/// part of it, and one at least.
#[must_use]
pub const fn share(of_full_list: usize, max_peers: usize) -> usize {
    let share = of_full_list.saturating_mul(max_peers) / limits::MAX_PEERS;
    if share == 0 { 1 } else { share }
}

/// From so many peers on, sources and networks have a share each of those that were never met. Half of a list of
/// [`limits::MAX_PEERS`]; shorter lists have their [`share`].
pub const CROWDED_ABOVE: usize = limits::MAX_PEERS / 2;

/// Most peers never met that one source told of first, in a crowded list. A [`share`] of shorter lists.
pub const MAX_UNMET_PER_SOURCE: usize = limits::MAX_PEERS * 3 / 8;

/// Most peers never met in one network (/16 of IPv4, /32 of IPv6, two labels of a name), in a crowded list. A [`share`] of
/// shorter lists.
pub const MAX_UNMET_PER_GROUP: usize = limits::MAX_PEERS / 16;

/// Most peers never met whose origin is remembered.
pub const MAX_ORIGINS: usize = limits::MAX_PEERS;

/// How often a known peer that is not connected is tried.
pub const FEELER_INTERVAL: Duration = Duration::from_secs(60);

/// Random share added to or taken from that.
pub const FEELER_JITTER: f64 = 0.25;

/// How long a connection that was made to try a peer may stay.
pub const FEELER_STAY: Duration = Duration::from_secs(10);

/// Most addresses of a peer that are tried.
pub const FEELER_ADDRESSES: usize = 8;

// --- misbehaviour --------------------------------------------------------------------------------------------------

/// Most peers whose score is remembered.
pub const MAX_SCORES: usize = 1024;

/// Points of a score that are forgiven per second.
pub const SCORE_DECAY_PER_SECOND: u32 = 1;

/// Score from which the peer is banned for a while, unless configured otherwise. The other steps are shares of it.
pub const SCORE_BAN: u32 = BanPolicy::DEFAULT.threshold;

/// Score from which the connection is closed: half of what leads to a ban.
pub const SCORE_DISCONNECT: u32 = SCORE_BAN / 2;

/// Score from which a peer is served less: a quarter of it.
pub const SCORE_THROTTLE: u32 = SCORE_BAN / 4;

/// Score from which a line in the log is due: a sixteenth of it.
pub const SCORE_WARN: u32 = SCORE_BAN / 16;
