//! What HTTP/1.1 costs: heads, chunks, responses and dates, without a socket. Not the server: the whole-server
//! comparison stands beside this file.

use std::hint::black_box;
use std::mem::MaybeUninit;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use unirs::http::{
    BodyDecoder, BodyFraming, Connection, Date, ErrorPage, Framing, Limits, RequestHead, ResponseHead,
    ServerField, Version, encode_chunk_head, encode_head, percent_decode,
};

/// What `wrk http://127.0.0.1:8000/` sends.
const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

/// A browser's twelve fields.
const BROWSER: &[u8] = b"GET /products/view?id=4711&page=2 HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Connection: keep-alive\r\n\
Cookie: session=6f1c0b3a5d9e4c72b8a1; theme=dark; consent=yes\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: none\r\n\
Priority: u=0, i\r\n\
\r\n";

fn parse(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("parse");
    for (name, request) in [("wrk", WRK), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(request.len() as u64));
        // Names are lower-cased in place, so each run copies the bytes first, as a socket would: a few nanoseconds.
        let mut bytes = request.to_vec();
        let mut head = RequestHead::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                bytes.copy_from_slice(black_box(request));
                head.clear();
                black_box(head.parse(&mut bytes, &limits))
            });
        });
        // The floor: httparse alone, with none of the checks.
        group.bench_function(format!("{name} by httparse alone"), |b| {
            b.iter(|| {
                bytes.copy_from_slice(black_box(request));
                let mut headers = [const { MaybeUninit::uninit() }; 64];
                let mut request = httparse::Request::new(&mut []);
                let status = request.parse_with_uninit_headers(&bytes, &mut headers);
                black_box((status, request.headers.len()))
            });
        });
        group.bench_function(format!("{name} byte by byte"), |b| {
            b.iter(|| {
                bytes.copy_from_slice(black_box(request));
                head.clear();
                (1..=bytes.len()).find_map(|end| head.parse(&mut bytes[..end], &limits).transpose())
            });
        });
    }
    group.finish();
}

/// A head that comes byte by byte costs as much for each byte, however long it is.
fn parse_slowly(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("parse byte by byte");
    for fields in [10, 80] {
        let field = format!("x-some-field: {}\r\n", "v".repeat(500));
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field.repeat(fields));
        let mut bytes = text.into_bytes();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut head = RequestHead::new();
        group.bench_function(format!("{} KiB", bytes.len() / 1024), |b| {
            b.iter(|| {
                head.clear();
                (1..=bytes.len()).find_map(|end| head.parse(&mut bytes[..end], &limits).transpose())
            });
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let date = Date::at(1_795_000_000);
    let head = ResponseHead {
        version: Version::Http11,
        status: 200,
        reason: b"",
        body: BodyFraming::Length(14),
        connection: Connection::KeepAlive,
        date: &date,
        server: Some(&ServerField::UNIRS),
    };
    let hello = [(&b"content-type"[..], &b"text/plain; charset=utf-8"[..])];
    let six = [
        hello[0],
        (b"cache-control", b"private, max-age=0, must-revalidate"),
        (b"etag", b"\"5f1c0b3a5d9e4c72\""),
        (b"vary", b"accept-encoding, cookie"),
        (b"set-cookie", b"session=6f1c0b3a5d9e4c72b8a1; path=/; httponly; samesite=lax"),
        (b"x-request-id", b"0f6c1d7e-21f3"),
    ];
    let mut out = Vec::with_capacity(4096);
    let mut group = c.benchmark_group("encode");
    for (name, fields) in [("hello", &hello[..]), ("six fields", &six[..])] {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encode_head(&mut out, black_box(&head), black_box(fields).iter().copied())
            });
        });
    }
    group.bench_function("chunk head", |b| {
        b.iter(|| {
            out.clear();
            encode_chunk_head(&mut out, black_box(16_384));
        });
    });
    group.bench_function("error page", |b| {
        b.iter(|| {
            out.clear();
            ErrorPage::new(&date, Version::Http11).encode(black_box(&mut out));
        });
    });
    group.finish();
}

fn date(c: &mut Criterion) {
    let mut date = Date::at(0);
    let mut second = 1_795_000_000;
    c.bench_function("date/the same second", |b| b.iter(|| date.refresh(black_box(second))));
    c.bench_function("date/another second", |b| {
        b.iter(|| {
            second += 1;
            date.refresh(black_box(second));
        });
    });
}

fn body(c: &mut Criterion) {
    let mut group = c.benchmark_group("body");
    for (name, chunk, count) in
        [("64 KiB in chunks of 8 KiB", 8192, 8), ("64 KiB in chunks of 64 B", 64, 1024)]
    {
        let mut bytes = Vec::new();
        for _ in 0..count {
            encode_chunk_head(&mut bytes, chunk);
            bytes.resize(bytes.len() + chunk, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        group.throughput(Throughput::Bytes(65_536));
        group.bench_function(name, |b| {
            b.iter_batched(
                || BodyDecoder::new(Framing::Chunked, 8190),
                |mut decoder| {
                    let mut rest = &bytes[..];
                    while let Ok(step) = decoder.step(rest) {
                        black_box(step.data);
                        rest = &rest[step.consumed..];
                        if step.done {
                            break;
                        }
                    }
                    decoder.received()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut path = Vec::with_capacity(256);
    c.bench_function("percent_decode", |b| {
        b.iter(|| {
            path.clear();
            percent_decode(black_box(b"/files/a%20long%20name%20with%20spaces.txt"), &mut path);
        });
    });
}

criterion_group!(benches, parse, parse_slowly, encode, date, body, decode);
criterion_main!(benches);
