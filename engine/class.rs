//! What can be found and hidden.

use std::fmt;

/// What can be found and hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// A face, from brow to chin.
    Face,
    /// A whole person.
    Person,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 2] = [Class::Face, Class::Person];
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// From its name in manifests and policies.
    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|c| c.to_string() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Face => "face",
            Class::Person => "person",
        })
    }
}
