//! The applications that are always there. Each is written against `unirs-app`, as a user's would be.

mod accept;
mod echo;
mod hello;
mod info;
mod page;
mod static_files;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // Tests.
mod tests;
mod welcome;

use unirs_app::abi_table;

use super::LoadError;
use super::library::Table;

/// The names by which a built-in is asked for.
pub const NAMES: [&str; 5] = ["welcome", "hello", "echo", "info", "static"];

/// The version of all of them is the server's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The table of a built-in, checked as a library's is.
pub(super) fn table(name: &str) -> Result<Table, LoadError> {
    let table = match name {
        "welcome" => abi_table::<welcome::Welcome>(),
        "hello" => abi_table::<hello::Hello>(),
        "echo" => abi_table::<echo::Echo>(),
        "info" => abi_table::<info::Info>(),
        "static" => abi_table::<static_files::StaticFiles>(),
        _ => return Err(LoadError::NoSuchBuiltin(name.to_owned())),
    };
    Table::linked(table).map_err(|fault| LoadError::Builtin { name: name.to_owned(), fault })
}
