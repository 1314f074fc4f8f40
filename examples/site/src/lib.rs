//! The classic small site, as an application for unirs: pages, a JSON API with shared state, and a middleware.
//!
//! ```text
//! cargo build --release -p site          # makes target/release/libsite.so
//! unirs target/release/libsite.so        # serves it at http://127.0.0.1:8000/
//! ```
//!
//! Read it from the top: the application, its routes, its pages, its API, and the middleware at the end.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use unirs_app::{App, Error, OrStatus, Request, Response, Router, Startup, log};

// What the server loads: the site, with a request log around it.
unirs_app::export!(RequestLog<Site>);

/// The site. One value for each worker, shared by all of the worker's threads.
struct Site {
    /// The users. Each worker has its own: for one list in all of them, keep it in a database.
    users: Mutex<Vec<User>>,
    /// Which function answers what.
    routes: Router<Site>,
}

#[derive(Clone, Serialize)]
struct User {
    id: u64,
    name: String,
}

impl App for Site {
    fn start(_: &Startup) -> Result<Self, Error> {
        let routes = Router::new()
            .get("/", Site::home)
            .get("/about", Site::about)
            .get("/time", Site::time)
            .get("/slow", Site::slow)
            .get("/api/users", Site::list_users)
            .post("/api/users", Site::create_user)
            .get("/api/users/{id}", Site::show_user)
            .otherwise(Site::not_found);
        let users = Mutex::new(vec![User { id: 1, name: "Ada".to_owned() }]);
        Ok(Site { users, routes })
    }

    fn call(&self, request: &mut Request) -> Response {
        self.routes.call(self, request)
    }
}

/// The pages.
impl Site {
    fn home(&self, _: &mut Request) -> Response {
        Response::html(
            "<!doctype html>\n<title>A small site</title>\n<h1>It works</h1>\n<ul>\n\
             <li><a href=\"/about\">About</a>\n<li><a href=\"/time\">The time</a>\n\
             <li><a href=\"/slow\">A slow page</a>\n<li><a href=\"/api/users\">The users, as JSON</a>\n</ul>\n",
        )
    }

    fn about(&self, request: &mut Request) -> Response {
        Response::text(format!("A small site, served by {}.\n", request.worker()))
    }

    /// Returns a `Result`: `?` makes a 500 of an error, and the log says what it was.
    fn time(&self, _: &mut Request) -> Result<Response, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Response::text(format!("{} seconds since 1970\n", now.as_secs()))
            .header("cache-control", "no-store"))
    }

    /// Occupies its thread for a while, as a slow database does.
    fn slow(&self, _: &mut Request) -> Response {
        thread::sleep(Duration::from_secs(2));
        Response::text("That took two seconds.\n")
    }

    fn not_found(&self, request: &mut Request) -> Response {
        // What a client has sent is not put into a page as it is: it might be a script.
        let path = request.path().replace('&', "&amp;").replace('<', "&lt;");
        Response::html(format!("<!doctype html>\n<title>Not found</title>\n<h1>There is no {path}</h1>\n"))
            .status(404)
    }
}

/// The API.
impl Site {
    fn list_users(&self, _: &mut Request) -> Response {
        Response::json(&*self.lock_users())
    }

    /// `{id}` of the route is `part("id")`. A missing user is a 404, an id that is no number a 400.
    fn show_user(&self, request: &mut Request) -> Result<Response, Error> {
        let id: u64 = request.part("id").or_status(404)?.parse().or_status(400)?;
        let users = self.lock_users();
        let user = users.iter().find(|user| user.id == id).or_status(404)?;
        Ok(Response::json(user))
    }

    fn create_user(&self, request: &mut Request) -> Response {
        #[derive(Deserialize)]
        struct NewUser {
            name: String,
        }

        let NewUser { name } = match request.body().limit(64 * 1024).json() {
            Ok(new_user) => new_user,
            Err(error) => return json_error(&error),
        };
        let mut users = self.lock_users();
        let user = User { id: users.len() as u64 + 1, name };
        users.push(user.clone());
        Response::json(&user).status(201).header("Location", format!("/api/users/{}", user.id))
    }

    fn lock_users(&self) -> std::sync::MutexGuard<'_, Vec<User>> {
        // A panic of another request while it held the lock is no reason to fail this one.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error's own status (400 for what is not JSON, 413 for too much of it), with the reason as JSON.
fn json_error(error: &Error) -> Response {
    #[derive(Serialize)]
    struct Reason {
        error: String,
    }

    Response::json(&Reason { error: error.to_string() }).status(error.status_code())
}

/// A middleware: an application that holds another one, and logs what that answers.
struct RequestLog<A>(A);

impl<A: App> App for RequestLog<A> {
    fn start(startup: &Startup) -> Result<Self, Error> {
        Ok(RequestLog(A::start(startup)?))
    }

    fn call(&self, request: &mut Request) -> Response {
        let start = Instant::now();
        let response = self.0.call(request);
        log::info!("{request:?}: {} after {:?}", response.status_code(), start.elapsed());
        response
    }
}

#[cfg(test)]
mod tests {
    use unirs_app::test::Server;

    use super::*;

    #[test]
    fn every_page_is_there() {
        let site = Server::new::<RequestLog<Site>>();
        for path in ["/", "/about", "/time", "/api/users"] {
            assert_eq!(site.get(path).status(), 200, "{path}");
        }
    }

    #[test]
    fn a_user_is_created_and_found_again() {
        let site = Server::new::<Site>();
        let created = site.post("/api/users", r#"{"name": "Grace"}"#);
        assert_eq!((created.status(), created.header("Location")), (201, Some("/api/users/2")));
        assert_eq!(site.get("/api/users/2").text(), r#"{"id":2,"name":"Grace"}"#);
        assert_eq!(site.get("/api/users/3").status(), 404);
    }

    #[test]
    fn bad_json_is_a_400_that_says_why() {
        let answer = Server::new::<Site>().post("/api/users", "{");
        assert_eq!((answer.status(), answer.header("content-type")), (400, Some("application/json")));
        assert!(answer.text().contains("EOF while parsing"), "{answer:?}");
    }

    #[test]
    fn a_page_that_is_missing_is_named_without_its_markup() {
        let answer = Server::new::<Site>().get("/%3Cscript%3E");
        assert_eq!(answer.status(), 404);
        assert!(answer.text().contains("There is no /&lt;script>"));
    }

    #[test]
    fn every_request_is_logged() {
        let site = Server::new::<RequestLog<Site>>();
        site.get("/missing?q=1");
        let (_, line) = site.log().pop().expect("a line");
        assert!(line.starts_with("GET /missing?q=1: 404 after "), "{line}");
    }
}
