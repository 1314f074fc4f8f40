//! Users and groups by name or number, looked up in the database when the settings are read; nobody becomes one here.

use nix::unistd::{Gid, Uid};

use super::kind::{Context, Kind};
use super::value::{Form, Raw, Refused, quoted};
use super::{Group, User};

/// A user by name or number.
pub(super) struct UserName;

impl Kind for UserName {
    type Value = User;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<User, Refused> {
        match name_or_number(raw).ok_or_else(|| raw.expected("the name or the number of a user"))? {
            NameOrNumber::Name(name) => match nix::unistd::User::from_name(&name) {
                Ok(Some(user)) => Ok(known_user(user)),
                Ok(None) => Err(raw.refuse(format!("there is no user \"{}\"", name.escape_debug()))),
                Err(why) => Err(raw.refuse(format!("cannot look up the user {raw}: {}", why.desc()))),
            },
            NameOrNumber::Number(uid) => {
                Ok(match nix::unistd::User::from_uid(Uid::from_raw(uid)) {
                    Ok(Some(user)) => known_user(user),
                    // A number needs no entry: containers have none.
                    Ok(None) | Err(_) => User { uid, gid: None, name: None },
                })
            }
        }
    }

    fn write(value: &User) -> Option<String> {
        Some(value.name.as_ref().map_or_else(|| value.uid.to_string(), |name| quoted(name)))
    }
}

/// A group by name or number.
pub(super) struct GroupName;

impl Kind for GroupName {
    type Value = Group;

    fn read(raw: &Raw, _: &Context<'_>) -> Result<Group, Refused> {
        match name_or_number(raw).ok_or_else(|| raw.expected("the name or the number of a group"))? {
            NameOrNumber::Name(name) => match nix::unistd::Group::from_name(&name) {
                Ok(Some(group)) => Ok(Group { gid: group.gid.as_raw(), name: Some(group.name) }),
                Ok(None) => Err(raw.refuse(format!("there is no group \"{}\"", name.escape_debug()))),
                Err(why) => Err(raw.refuse(format!("cannot look up the group {raw}: {}", why.desc()))),
            },
            NameOrNumber::Number(gid) => Ok(match nix::unistd::Group::from_gid(Gid::from_raw(gid)) {
                Ok(Some(group)) => Group { gid, name: Some(group.name) },
                Ok(None) | Err(_) => Group { gid, name: None },
            }),
        }
    }

    fn write(value: &Group) -> Option<String> {
        Some(value.name.as_ref().map_or_else(|| value.gid.to_string(), |name| quoted(name)))
    }
}

enum NameOrNumber {
    Name(String),
    Number(u32),
}

/// Digits are a number, also on the command line. The last number means "leave it" to the kernel and is none.
fn name_or_number(raw: &Raw) -> Option<NameOrNumber> {
    let number = match &raw.form {
        Form::Integer(number) => u32::try_from(*number).ok(),
        Form::Text(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        Form::Text(text) if !text.is_empty() && !text.contains('\0') => {
            return Some(NameOrNumber::Name(text.clone()));
        }
        Form::Text(_) | Form::Float(_) | Form::Switch(_) | Form::List(_) | Form::Other(_) => None,
    };
    number.filter(|number| *number != u32::MAX).map(NameOrNumber::Number)
}

fn known_user(user: nix::unistd::User) -> User {
    User { uid: user.uid.as_raw(), gid: Some(user.gid.as_raw()), name: Some(user.name) }
}
