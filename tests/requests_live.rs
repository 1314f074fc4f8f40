//! The raw-request corpus, given to the real server: whole, byte by byte, and in two pieces. What the application was
//! told has to be what `unirs-http` understands by itself (which `tests/requests.rs` compares with the corpus), and
//! nothing of it may be left for the request that follows.
mod support;

#[path = "requests/case.rs"]
mod case;
#[path = "requests/reader.rs"]
mod reader;

use std::collections::BTreeMap;

use case::{Block, Case, Verdict};
use support::{Client, Random, Response, Server, Setup};

/// How many connections there are at once.
const AT_ONCE: usize = 200;

/// Of a long case, so many bytes of its beginning and of its end come one by one.
const ENDS: usize = 1_000;

/// Follows every case that leaves its connection open.
const SANE: &str = "GET /s?n HTTP/1.1\r\nHost: s\r\n\r\n";

/// What has to be understood of it.
const SANE_TOLD: [&str; 9] = [
    "method GET",
    "target /s?n",
    "path /s",
    "query n",
    "version 1.1",
    "authority s",
    "fields 1",
    "field host: s",
    "no body",
];

/// Names and values of a settings file.
type Settings = Vec<(String, toml::Value)>;

#[test]
fn every_raw_request_has_its_outcome_when_it_comes_whole() {
    over_the_wire("sync", |case| vec![case.len()]);
}

#[test]
fn every_raw_request_has_its_outcome_when_it_comes_byte_by_byte() {
    over_the_wire("threaded", |case| {
        let is_near_an_end = |cut: &usize| *cut <= ENDS || *cut + ENDS >= case.len();
        (1..=case.len()).filter(is_near_an_end).collect()
    });
}

#[test]
fn every_raw_request_has_its_outcome_when_it_comes_in_two_pieces() {
    let mut random = Random::seeded("UNIRS_SEED");
    for class in ["sync", "threaded"] {
        over_the_wire(class, |case| vec![random.below(case.len()), case.len()]);
    }
}

/// Sends every case in pieces that end where `cuts` says, and checks what comes back.
fn over_the_wire(class: &str, mut cuts: impl FnMut(&[u8]) -> Vec<usize>) {
    let mut wrong = Vec::new();
    for (settings, cases) in by_settings() {
        let server = serve(class, &settings);
        for batch in cases.chunks(AT_ONCE) {
            let talks = batch.iter().map(|case| Talk::new(&server, case, &mut cuts));
            let mut talks: Vec<Talk<'_>> = talks.collect();
            while talks.iter_mut().map(Talk::send_piece).filter(|is_more| *is_more).count() > 0 {}
            for talk in talks {
                let (name, cuts) = (&talk.case.name, talk.cuts.clone());
                if let Err(why) = talk.judge() {
                    let shown: Vec<_> = cuts.iter().take(3).collect();
                    wrong.push(format!("{class}, {name}, in {} pieces ({shown:?}...): {why}", cuts.len()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// The corpus by the settings that its cases need. The limit of the head as a whole is no setting.
fn by_settings() -> Vec<(Settings, Vec<Case>)> {
    let mut groups: BTreeMap<String, (Settings, Vec<Case>)> = BTreeMap::new();
    for case in case::all() {
        if case.limits.iter().any(|(name, _)| name == "head") {
            continue;
        }
        let key = format!("{:?} {:?}", case.limits, case.lenient);
        groups.entry(key).or_insert_with(|| (settings(&case), Vec::new())).1.push(case);
    }
    groups.into_values().collect()
}

fn settings(case: &Case) -> Settings {
    let limits = case.limits.iter().map(|(name, value)| {
        let value = i64::try_from(*value).expect("a small number");
        (format!("limit_request_{name}"), toml::Value::Integer(value))
    });
    let switches = case.lenient.iter().map(|switch| match switch.split_once('=') {
        Some((name, value)) => (name.to_owned(), toml::Value::String(value.to_owned())),
        None => (switch.clone(), toml::Value::Boolean(true)),
    });
    limits.chain(switches).collect()
}

fn serve(class: &str, settings: &Settings) -> Server {
    let setup = Setup::new().set("worker_class", class).set("threads", if class == "sync" { 1 } else { 4 });
    let setup = setup.set("header_timeout", 60).set("keepalive", 60);
    let setup = setup.configure(|config| config.app("tell", true));
    settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value.clone())).start()
}

/// One case on its connection.
struct Talk<'c> {
    case: &'c Case,
    /// What has to come of it, all that `unirs-http` says.
    expected: Vec<Block>,
    bytes: Vec<u8>,
    cuts: Vec<usize>,
    /// How many pieces were sent.
    sent: usize,
    client: Client,
    /// The server has ended the connection.
    is_ended: bool,
}

impl<'c> Talk<'c> {
    fn new(server: &Server, case: &'c Case, cuts: &mut impl FnMut(&[u8]) -> Vec<usize>) -> Talk<'c> {
        let expected = reader::observe(case, &[]);
        assert_eq!(expected.len(), case.blocks.len(), "{}: see tests/requests.rs", case.name);
        let mut bytes = case.bytes.clone();
        let mut cuts = cuts(&bytes);
        if stays_open(&expected) {
            bytes.extend_from_slice(SANE.as_bytes());
            cuts.push(bytes.len());
        }
        Talk { case, expected, bytes, cuts, sent: 0, client: server.client(), is_ended: false }
    }

    /// False when nothing was left to send. A client that was refused may be cut off while it still sends.
    fn send_piece(&mut self) -> bool {
        self.is_ended |= !self.client.take_arrived();
        let Some(end) = self.cuts.get(self.sent).copied().filter(|_| !self.is_ended) else { return false };
        let start = if self.sent == 0 { 0 } else { self.cuts[self.sent - 1] };
        self.sent += 1;
        self.is_ended |= self.client.send(&self.bytes[start..end]).is_err();
        if self.sent == self.cuts.len() {
            self.client.finish_sending();
        }
        true
    }

    fn judge(mut self) -> Result<(), String> {
        for block in std::mem::take(&mut self.expected) {
            let ends = match (block.verdict(), block.body_reject()) {
                (Verdict::Reject(status), _) => self.expect_refusal(status)?,
                (Verdict::Incomplete, _) => true,
                (Verdict::Accept, Some(status)) => {
                    self.skip_continue(&block)?;
                    self.expect_refusal(status)?
                }
                (Verdict::Accept, None) if says(&block, "body incomplete") => {
                    self.skip_continue(&block)?;
                    true
                }
                (Verdict::Accept, None) => self.expect_told(&block)?,
            };
            if ends {
                return self.expect_end();
            }
        }
        let response = self.client.answer().map_err(|broken| format!("the request after it: {broken}"))?;
        let told = response.text();
        if response.status != 200 || !told.lines().eq(SANE_TOLD) {
            return Err(format!("the request after it was understood as:\n{told}"));
        }
        self.expect_end()
    }

    fn expect_refusal(&mut self, status: u16) -> Result<bool, String> {
        let response = self.client.answer().map_err(|broken| format!("instead of {status}: {broken}"))?;
        if response.status != status || !response.closes() {
            return Err(format!("instead of {status} and close: {response:?}"));
        }
        for field in ["date", "server", "content-length"] {
            response.field(field).ok_or_else(|| format!("a refusal without {field}: {response:?}"))?;
        }
        Ok(true)
    }

    /// True when the connection ends with it.
    fn expect_told(&mut self, block: &Block) -> Result<bool, String> {
        self.skip_continue(block)?;
        let to_head = block.value("method") == Some("HEAD");
        let answer = if to_head { self.client.answer_to_head() } else { self.client.answer() };
        let response = answer.map_err(|broken| format!("instead of an answer: {broken}"))?;
        let expected: Vec<&str> = facts(block).collect();
        let told = told(&response, to_head);
        if response.status != 200 || told != expected {
            let (status, expected) = (response.status, expected.join("\n"));
            return Err(format!("{status}, told:\n{}\nand not:\n{expected}", told.join("\n")));
        }
        let ends = says(block, "keep-alive no");
        if response.closes() != ends { Err(format!("keep-alive: {response:?}")) } else { Ok(ends) }
    }

    /// `100 Continue` is sent to those who wait for it, where nothing of the body has come with the head.
    fn skip_continue(&mut self, block: &Block) -> Result<(), String> {
        if !says(block, "continue yes") {
            return Ok(());
        }
        self.client.wait_for_bytes(CONTINUE.len()).or_else(|broken| match broken {
            support::Broken::Closed | support::Broken::Cut => Ok(()),
            other => Err(other.to_string()),
        })?;
        if self.client.received().starts_with(CONTINUE.as_bytes()) {
            self.client.answer().map_err(|broken| broken.to_string())?;
        }
        Ok(())
    }

    fn expect_end(mut self) -> Result<(), String> {
        match self.client.answer() {
            Err(support::Broken::Closed) => Ok(()),
            other => Err(format!("instead of the end: {other:?}")),
        }
    }
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn stays_open(blocks: &[Block]) -> bool {
    blocks.iter().all(|block| says(block, "body complete") && says(block, "keep-alive yes"))
}

fn says(block: &Block, line: &str) -> bool {
    block.0.iter().any(|said| said == line)
}

/// What an application can be told of a request.
fn facts(block: &Block) -> impl Iterator<Item = &str> {
    let others = ["accept", "framing", "keep-alive", "continue"];
    let is_fact = move |line: &&str| {
        let key = line.split(' ').next().unwrap_or_default();
        !others.contains(&key) && *line != "body complete"
    };
    block.0.iter().map(String::as_str).filter(is_fact)
}

fn told(response: &Response, to_head: bool) -> Vec<String> {
    if to_head {
        let fields = response.fields.iter().filter(|(name, _)| name == "told");
        return fields.map(|(_, value)| value.clone()).collect();
    }
    response.text().lines().map(str::to_owned).collect()
}
