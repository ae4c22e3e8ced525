//! What users have while no node holds them: a file each, in a directory that every node reaches.
//!
//! It stands for a game's database. A user that some node holds has no free file, so two nodes never count
//! for one user; whoever is to hold it next waits until it is given back.
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use yumen::prelude::UserId;

#[derive(Debug, Clone)]
pub(super) struct Saves {
    dir: PathBuf,
}

impl Saves {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, user: UserId, end: &str) -> PathBuf {
        self.dir.join(user.0.to_string()).with_extension(end)
    }

    /// Takes the user's count, unless another node holds the user. A user nobody has seen has 0.
    pub(super) fn take(&self, user: UserId) -> io::Result<Option<u64>> {
        match File::create_new(self.path(user, "seen")) {
            Ok(_) => return Ok(Some(0)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let mine = self.path(user, &format!("held-{}", std::process::id()));
        match std::fs::rename(self.path(user, "free"), &mine) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let text = std::fs::read_to_string(&mine)?;
        text.parse().map(Some).map_err(|_| ErrorKind::InvalidData.into())
    }

    /// Gives the user back.
    pub(super) fn give(&self, user: UserId, count: u64) -> io::Result<()> {
        let whole = self.path(user, &format!("held-{}", std::process::id()));
        std::fs::write(&whole, count.to_string())?;
        std::fs::rename(whole, self.path(user, "free"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scratch;

    #[test]
    fn a_user_is_held_by_one_at_a_time_and_keeps_its_count() {
        let scratch = Scratch::new("yumen-saves").unwrap();
        let saves = Saves::new(scratch.path());
        let user = UserId(7);
        assert_eq!(saves.take(user).unwrap(), Some(0), "nobody has seen it");
        assert_eq!(saves.take(user).unwrap(), None, "it is held");
        saves.give(user, 41).unwrap();
        assert_eq!(saves.take(user).unwrap(), Some(41));
        assert_eq!(saves.take(user).unwrap(), None, "it is held again");
    }
}
