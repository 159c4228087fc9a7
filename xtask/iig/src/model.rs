//! What a parsed interface definition consists of.

use crate::lex::Source;
use std::rc::Rc;

/// A class that takes part in dispatch.
#[derive(Debug)]
pub struct Class {
    pub source: Rc<Source>,
    pub name: String,
    /// The base class that takes part in dispatch; `None` for OSMetaClassBase.
    pub base: Option<String>,
    /// Further bases as written, access specifier included.
    pub other_bases: Vec<String>,
    /// Byte range of the definition, from `class` through `;`.
    pub span: (usize, usize),
    /// `class EXTENDS(X)`: private part of another class.
    pub extends: bool,
    /// `class LOCALONLY X`: no method is dispatched.
    pub local_only: bool,
    pub methods: Vec<Method>,
    /// Nested types, aliases and data members, verbatim; they stand before the methods, which may use them.
    pub types: Vec<String>,
    /// Names of those.
    pub type_names: Vec<String>,
    /// Functions with a body, verbatim; they stand after the methods.
    pub plain: Vec<String>,
}

/// A method without a body.
#[derive(Debug, Clone)]
pub struct Method {
    pub name: String,
    /// Byte offset of the name.
    pub at: usize,
    pub result: String,
    pub parameters: Vec<Parameter>,
    pub is_virtual: bool,
    pub is_static: bool,
    /// Written `override`.
    pub is_override: bool,
    /// `const`, `noexcept` and the like, as written.
    pub qualifiers: String,
    pub pure: bool,
    pub local_only: bool,
    pub kernel: bool,
    /// Returns void but the caller waits.
    pub invoke_reply: bool,
    /// `LOCAL`, `REMOTE` and the like: the first annotation that makes it a marshalled method.
    pub marshalled: Option<String>,
    pub callback_type: Option<CallbackType>,
    pub queue: Option<Placed>,
    /// Attributes other than iig's annotations, verbatim.
    pub attributes: String,
    /// Attributes before the result type.
    pub leading: String,
}

/// Text and where it stands.
#[derive(Debug, Clone)]
pub struct Placed {
    pub text: String,
    pub at: usize,
}

/// `TYPE(Class::Method)`.
#[derive(Debug, Clone)]
pub struct CallbackType {
    /// `None`: a method of the same class.
    pub class: Option<String>,
    pub method: String,
    pub at: usize,
}

#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    /// The whole declaration without annotations and default.
    pub text: String,
    /// The type alone, array bounds included: what stands in a template argument.
    pub type_text: String,
    pub default: Option<String>,
    /// `X` of a parameter of type `X *`.
    pub pointee: Option<String>,
    pub target: bool,
}

impl Method {
    /// The caller does not wait for it.
    pub fn oneway(&self) -> bool {
        self.result == "void" && !self.invoke_reply
    }

    pub fn target(&self) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.target)
    }

    /// The types of the parameters without white space, for comparison.
    pub fn signature(&self) -> Vec<String> {
        self.parameters.iter().map(|p| p.type_text.split_whitespace().collect()).collect()
    }

    /// `Name(types)`, for messages.
    pub fn display(&self) -> String {
        let types: Vec<_> = self.parameters.iter().map(|p| p.text.as_str()).collect();
        format!("{}({})", self.name, types.join(", "))
    }
}
