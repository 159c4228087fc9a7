//! Property trees: personalities, registry properties, entitlements (`OSDictionary` and friends as plain values).

use std::collections::BTreeMap;

/// One value of a property tree.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Prop {
    /// Nothing.
    #[default]
    Null,
    /// `OSBoolean`.
    Bool(bool),
    /// `OSNumber`: value and width in bits.
    Number(u64, u32),
    /// `OSString`.
    String(String),
    /// `OSData`.
    Data(Vec<u8>),
    /// `OSArray`.
    Array(Vec<Prop>),
    /// `OSDictionary`.
    Dict(Properties),
}

/// A dictionary of properties, in the order of the keys.
pub type Properties = BTreeMap<String, Prop>;

impl Prop {
    /// The entry `key` of a dictionary.
    pub fn get(&self, key: &str) -> Option<&Prop> {
        match self {
            Prop::Dict(d) => d.get(key),
            _ => None,
        }
    }

    /// A number or boolean as an integer.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Prop::Number(v, _) => Some(*v),
            Prop::Bool(b) => Some(u64::from(*b)),
            _ => None,
        }
    }

    /// A string's text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Prop::String(s) => Some(s),
            _ => None,
        }
    }
}

impl From<bool> for Prop {
    fn from(v: bool) -> Self {
        Prop::Bool(v)
    }
}

impl From<u32> for Prop {
    fn from(v: u32) -> Self {
        Prop::Number(v.into(), 32)
    }
}

impl From<u64> for Prop {
    fn from(v: u64) -> Self {
        Prop::Number(v, 64)
    }
}

impl From<&str> for Prop {
    fn from(v: &str) -> Self {
        Prop::String(v.to_owned())
    }
}

impl From<String> for Prop {
    fn from(v: String) -> Self {
        Prop::String(v)
    }
}

impl From<Properties> for Prop {
    fn from(v: Properties) -> Self {
        Prop::Dict(v)
    }
}

impl From<Vec<Prop>> for Prop {
    fn from(v: Vec<Prop>) -> Self {
        Prop::Array(v)
    }
}

/// `name` in `entitlements` is true, or a list or string that is not empty.
pub fn entitled(entitlements: &Properties, name: &str) -> bool {
    match entitlements.get(name) {
        Some(Prop::Bool(b)) => *b,
        Some(Prop::Array(a)) => !a.is_empty(),
        Some(Prop::String(s)) => !s.is_empty(),
        _ => false,
    }
}
