//! Which function answers which path and method. Not an application: a router is a value that an [`App`](crate::App) holds.

use std::fmt;

use crate::pattern::{Parts, Pattern};
use crate::{IntoResponse, Request, Response};

/// Functions by method and path.
///
/// A function gets the application (or whatever `S` is) and the request, and returns anything that
/// [can be an answer](IntoResponse). So the methods of an application can stand in its table of routes as they are:
///
/// ```
/// use unirs_app::{App, Error, OrStatus, Request, Response, Router, Startup};
///
/// struct Library { books: Vec<&'static str>, routes: Router<Library> }
///
/// impl App for Library {
///     fn start(_: &Startup) -> Result<Self, Error> {
///         let routes = Router::new()
///             .get("/", |_, _| "A library\n")
///             .get("/books/{number}", Library::book)
///             .post("/books", |_, _| Response::plain_status(403));
///         Ok(Library { books: vec!["Middlemarch", "Emma"], routes })
///     }
///
///     fn call(&self, request: &mut Request) -> Response {
///         self.routes.call(self, request)
///     }
/// }
///
/// impl Library {
///     fn book(&self, request: &mut Request) -> Result<Response, Error> {
///         let number: usize = request.part("number").or_status(404)?.parse().or_status(400)?;
///         let title = self.books.get(number).or_status(404)?;
///         Ok(Response::text(*title))
///     }
/// }
/// # let library = unirs_app::test::Server::new::<Library>();
/// # assert_eq!(library.get("/books/1").text(), "Emma");
/// # assert_eq!(library.get("/books/one").status(), 400);
/// # assert_eq!(library.get("/books").status(), 405);
/// ```
///
/// # Patterns
/// A pattern is a path. A segment `{name}` stands for any one segment that is not empty, and a last segment `{*name}` for
/// all the rest, which may be empty; [`Request::part`] has their decoded values. Segments are compared after
/// percent-decoding, so that a `%2F` inside a segment does not divide it. A literal segment wins over a named one, whatever
/// the order in which they were added. `/books` and `/books/` are two paths.
///
/// # Answers of its own
/// 404 where no pattern fits (see [`otherwise`](Router::otherwise)); 405 with `Allow` where one does, but not for this method;
/// `OPTIONS` with `Allow`; and `HEAD` where there is a `GET`.
pub struct Router<S = ()> {
    /// Sorted: of two that fit a path, the more literal one is first.
    routes: Vec<Route<S>>,
    otherwise: Handler<S>,
}

type Handler<S> = Box<dyn Fn(&S, &mut Request) -> Response + Send + Sync>;

struct Route<S> {
    pattern: Pattern,
    methods: Vec<(String, Handler<S>)>,
}

impl<S> Router<S> {
    /// A router that answers everything with 404.
    pub fn new() -> Router<S> {
        Router { routes: Vec::new(), otherwise: Box::new(|_, _| Response::plain_status(404)) }
    }

    /// Answers `GET` (and `HEAD`) of a pattern.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn get<R: IntoResponse>(
        self,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route("GET", pattern, handler)
    }

    /// Answers `POST` of a pattern.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn post<R: IntoResponse>(
        self,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route("POST", pattern, handler)
    }

    /// Answers `PUT` of a pattern.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn put<R: IntoResponse>(
        self,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route("PUT", pattern, handler)
    }

    /// Answers `PATCH` of a pattern.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn patch<R: IntoResponse>(
        self,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route("PATCH", pattern, handler)
    }

    /// Answers `DELETE` of a pattern.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn delete<R: IntoResponse>(
        self,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route("DELETE", pattern, handler)
    }

    /// Answers any method of a pattern that has no function of its own there.
    ///
    /// # Panics
    /// As [`route`](Router::route).
    pub fn any<R: IntoResponse>(
        self,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route(ANY, pattern, handler)
    }

    /// Answers a method of a pattern.
    ///
    /// # Panics
    /// When the pattern is not one, or has this method already: a mistake of the program, which is found when the
    /// application starts.
    pub fn route<R: IntoResponse>(
        mut self,
        method: &str,
        pattern: &str,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        let route = self.route_of(Pattern::parse(pattern));
        let taken = route.methods.iter().any(|(other, _)| other == method);
        assert!(!taken, "the route {method} {pattern} is there twice");
        let handler: Handler<S> = Box::new(move |state, request| handler(state, request).into_response());
        route.methods.push((method.to_owned(), handler));
        self
    }

    /// Answers what no pattern fits, instead of a plain 404.
    pub fn otherwise<R: IntoResponse>(
        mut self,
        handler: impl Fn(&S, &mut Request) -> R + Send + Sync + 'static,
    ) -> Self {
        self.otherwise = Box::new(move |state, request| handler(state, request).into_response());
        self
    }

    /// Answers a request.
    pub fn call(&self, state: &S, request: &mut Request) -> Response {
        for route in &self.routes {
            if let Some(values) = route.pattern.fit(request.raw_path())
                && let Some(handler) = route.handler(method_of(request))
            {
                request.set_parts(Parts::new(&route.pattern, values));
                return handler(state, request);
            }
        }
        self.answer_without_route(state, request)
    }

    /// Nobody has the path, or nobody who has it has the method.
    fn answer_without_route(&self, state: &S, request: &mut Request) -> Response {
        let fitting = self.routes.iter().filter(|route| route.pattern.fit(request.raw_path()).is_some());
        let allowed: Vec<&str> = fitting.flat_map(Route::methods).collect();
        match (allowed.is_empty(), method_of(request)) {
            (true, _) => (self.otherwise)(state, request),
            (false, b"OPTIONS") => Response::new(204).header("Allow", allow(allowed)),
            (false, _) => Response::plain_status(405).header("Allow", allow(allowed)),
        }
    }

    /// The route of a pattern, made at its place where there is none.
    fn route_of(&mut self, pattern: Pattern) -> &mut Route<S> {
        let at = match self.routes.iter().position(|route| route.pattern.segments == pattern.segments) {
            Some(at) => at,
            None => {
                let at = self.routes.partition_point(|route| route.pattern.rank() <= pattern.rank());
                self.routes.insert(at, Route { pattern, methods: Vec::new() });
                at
            }
        };
        &mut self.routes[at]
    }
}

/// The method of a function that answers all of them; not a token, so that no request has it.
const ANY: &str = "*any*";

/// Compared with, it need not be text.
fn method_of(request: &Request) -> &[u8] {
    request.exchange().bytes(|request| request.method)
}

impl<S> Route<S> {
    fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(|(method, _)| method.as_str())
    }

    /// The function of this very method, or that which stands in for it.
    fn handler(&self, method: &[u8]) -> Option<&Handler<S>> {
        let stand_in = if method == b"HEAD" { "GET" } else { ANY };
        [method, stand_in.as_bytes(), ANY.as_bytes()].iter().find_map(|wanted| {
            let found = self.methods.iter().find(|(method, _)| method.as_bytes() == *wanted);
            found.map(|(_, handler)| handler)
        })
    }
}

/// The value of `Allow`.
fn allow(mut methods: Vec<&str>) -> String {
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

impl<S> Default for Router<S> {
    fn default() -> Self {
        Router::new()
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|route| &route.pattern.text)).finish()
    }
}
