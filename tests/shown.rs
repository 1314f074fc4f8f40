//! The Rust application that the `welcome` page shows compiles as it stands there, and answers.

use unirs_app::abi;
use unirs_app::test::Server;

#[path = "../src/app/builtin/shop.rs"]
mod shop;

unsafe extern "C" {
    /// What `export!` makes in `shop`.
    fn unirs_app() -> *const abi::App;
}

#[test]
fn the_rust_application_that_welcome_shows_compiles_and_answers() {
    // SAFETY: the function is the one above: it returns a table that lives for ever and keeps the contract.
    let server = unsafe { Server::of_table(&*unirs_app(), "{}") }.expect("it starts");
    assert_eq!(server.get("/a").text(), "You asked for /a\n");
}
