//! The workloads of the benchmark: what is answered at once, what sleeps, what burns, what is large.
//!
//! Also an example of an application that is as fast as can be: what does not change is made once, in `start`.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use unirs_app::{App, Error, OrStatus, Request, Response, Router, Startup};

unirs_app::export!(Bench);

struct Bench {
    /// The folder of `/static/`.
    root: PathBuf,
    /// The body of `/large`.
    large: Arc<[u8]>,
    routes: Router<Bench>,
}

impl App for Bench {
    fn start(_: &Startup) -> Result<Self, Error> {
        let routes = Router::new()
            .get("/", |_, _| Response::text("Hello, World!").content_type("text/plain"))
            .get("/sleep", sleep)
            .get("/burn", burn)
            .post("/echo", count)
            .get("/static/{*name}", Bench::file)
            .get("/pid", |_, _| std::process::id().to_string())
            .get("/large", |bench: &Bench, _| Response::bytes(Arc::clone(&bench.large)));
        let root = std::env::var_os("BENCH_ROOT").unwrap_or_else(|| ".".into()).into();
        Ok(Bench { root, large: vec![b'x'; 1 << 20].into(), routes })
    }

    fn call(&self, request: &mut Request) -> Response {
        self.routes.call(self, request)
    }
}

/// 5 ms without the CPU: a query of a database.
fn sleep(_: &Bench, _: &mut Request) -> Response {
    thread::sleep(Duration::from_millis(5));
    Response::text("slept\n")
}

/// 50 ms of this thread's CPU time, however many threads want it.
fn burn(_: &Bench, _: &mut Request) -> Result<Response, Error> {
    let end = thread_time()? + Duration::from_millis(50);
    while thread_time()? < end {
        std::hint::black_box((0..10_000_u64).fold(0, |sum, n| std::hint::black_box(sum + n)));
    }
    Ok(Response::text("burnt\n"))
}

fn thread_time() -> Result<Duration, Error> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// The length of the body, all of which is read.
fn count(_: &Bench, request: &mut Request) -> Result<Response, Error> {
    let (mut body, mut buffer, mut length) = (request.body(), [0; 16 * 1024], 0);
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok(Response::text(format!("{length}\n"))),
            count => length += count,
        }
    }
}

impl Bench {
    fn file(&self, request: &mut Request) -> Result<Response, Error> {
        let name = request.part("name").or_status(404)?;
        let inside = Path::new(&*name).components().all(|part| matches!(part, Component::Normal(_)));
        let path = inside.then(|| self.root.join(&*name)).or_status(404)?;
        Ok(Response::file(File::open(path).or_status(404)?))
    }
}

#[cfg(test)]
mod tests {
    use unirs_app::test::Server;

    use super::*;

    #[test]
    fn every_workload_answers() {
        let bench = Server::new::<Bench>();
        assert_eq!(bench.get("/").text(), "Hello, World!");
        assert_eq!(bench.get("/large").bytes().len(), 1 << 20);
        assert_eq!(bench.post("/echo", vec![0; 100_000]).text(), "100000\n");
        assert_eq!(bench.get("/static/Cargo.toml").status(), 200);
        for path in ["/static/../bench/Cargo.toml", "/static/%2e%2e/bench/Cargo.toml", "/static//etc/passwd"]
        {
            assert_eq!(bench.get(path).status(), 404, "{path}");
        }
        for path in ["/sleep", "/burn", "/pid"] {
            assert_eq!(bench.get(path).status(), 200, "{path}");
        }
    }
}
