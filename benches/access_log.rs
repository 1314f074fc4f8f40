//! What an access line costs: the default format, a record as a browser sends it, into a buffer that is written to
//! `/dev/null`.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use unirs::log::format::DEFAULT_FORMAT;
use unirs::log::{AccessBuffer, AccessFormat, AccessLog, AccessRecord, Fields, NoFields, Sink, Target};

struct Request;

impl Fields for Request {
    fn field(&self, name: &str) -> Option<&[u8]> {
        const FIELDS: &[(&str, &[u8])] = &[
            ("host", b"shop.example.org"),
            ("accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            ("referer", b"https://shop.example.org/articles?page=7"),
        ];
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        peer: "192.0.2.117",
        method: b"GET",
        target: b"/articles/4711?colour=blue",
        path: b"/articles/4711",
        query: Some(b"colour=blue"),
        protocol: "HTTP/1.1",
        status: 200,
        body_bytes: 12_345,
        duration: Duration::from_micros(1_234),
        now: 1_795_341_600,
        pid: 4711,
        request: &Request,
        response: &NoFields,
        environ: &NoFields,
    }
}

fn append(bench: &mut Criterion) {
    let formats = [
        ("default", DEFAULT_FORMAT),
        ("durations", r#"%(h)s %(t)s "%(m)s %(U)s" %(s)s %(B)s %(D)s %(M)s %(L)s %(p)s %({host}i)s"#),
    ];
    for (name, format) in formats {
        let format = AccessFormat::compile(format).expect("the format is a good one");
        let sink =
            Sink::open(&Target::File(PathBuf::from("/dev/null")), Path::new("/")).expect("/dev/null opens");
        let mut buffer = AccessBuffer::new(Arc::new(AccessLog::new(format, sink)));
        bench.bench_function(&format!("append/{name}"), |run| {
            run.iter(|| buffer.append(black_box(&record())))
        });
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
