//! What each method of a class is: an override of what, a callback of what kind, or new; and what is not allowed.

use crate::Mode;
use crate::diag::Diagnostic;
use crate::member::distance;
use crate::model::{CallbackType, Class, Method};
use crate::parse::Table;
use std::collections::HashSet;
use std::rc::Rc;

/// A method and the class that introduced it.
#[derive(Debug, Clone)]
pub struct Introduced {
    pub class: Rc<Class>,
    pub method: Method,
}

/// What a declared method is for the generator.
#[derive(Debug, Clone)]
pub enum Role {
    /// Overrides a dispatched method.
    Override(Introduced),
    /// Overrides a LOCALONLY virtual method.
    LocalOverride,
    /// A LOCALONLY method of its own.
    Local,
    /// A dispatched method of its own.
    New,
    /// An OSAction callback of the named kind.
    Callback(Introduced),
}

/// A class whose methods are understood.
#[derive(Debug)]
pub struct Resolved {
    pub class: Rc<Class>,
    pub methods: Vec<(Method, Role)>,
    /// Cannot be instantiated: a LOCALONLY method is pure.
    pub is_abstract: bool,
}

/// What a dispatched method can return besides void. The reply has one place for it, a kern_return_t, so that integers
/// which fit in there arrive too, as with Apple's tool.
const RESULTS: [&str; 20] = [
    "kern_return_t",
    "IOReturn",
    "IOOptionBits",
    "bool",
    "char",
    "short",
    "int",
    "unsigned",
    "unsigned int",
    "int8_t",
    "int16_t",
    "int32_t",
    "uint8_t",
    "uint16_t",
    "uint32_t",
    "UInt8",
    "UInt16",
    "UInt32",
    "SInt32",
    "MediaWord",
];

impl Table {
    /// The bases of a class, nearest first.
    pub fn bases(&self, class: &Class) -> Vec<Rc<Class>> {
        let mut out: Vec<Rc<Class>> = Vec::new();
        let mut next = class.base.clone();
        while let Some(base) = next.and_then(|name| self.classes.get(&name)) {
            if out.iter().any(|seen| seen.name == base.name) {
                break;
            }
            out.push(Rc::clone(base));
            next = base.base.clone();
        }
        out
    }

    /// The method that `method` overrides, where it was introduced; by name, then by types.
    fn overridden(&self, class: &Class, method: &Method) -> Option<(Introduced, bool)> {
        let mut found: Vec<Introduced> = Vec::new();
        for base in self.bases(class) {
            let same =
                base.methods.iter().filter(|m| m.name == method.name && m.parameters.len() == method.parameters.len());
            found.extend(same.map(|m| Introduced { class: Rc::clone(&base), method: m.clone() }));
        }
        let exact: Vec<_> = found.iter().filter(|f| f.method.signature() == method.signature()).cloned().collect();
        let is_exact = !exact.is_empty();
        let mut candidates = if is_exact { exact } else { found };
        let first = candidates.first().map(|f| f.method.signature())?;
        candidates.retain(|f| f.method.signature() == first);
        candidates.pop().map(|found| (found, is_exact))
    }

    /// The framework's callback that a `TYPE` names, or what is wrong with it and what to do.
    pub fn callback(&self, class: &Class, kind: &CallbackType) -> Result<Introduced, (String, String)> {
        let owner = kind.class.as_deref().unwrap_or(&class.name);
        let Some(owner) = self.classes.get(owner) else {
            let text = format!("class `{owner}` of TYPE is not declared in any included interface definition");
            return Err((text, format!("include the .iig file that declares `{owner}`")));
        };
        let mut chain = vec![Rc::clone(owner)];
        chain.extend(self.bases(owner));
        let mut named = false;
        for class in chain {
            for method in class.methods.iter().filter(|method| method.name == kind.method) {
                named = true;
                if method.target().is_some() {
                    return Ok(Introduced { class: Rc::clone(&class), method: method.clone() });
                }
            }
        }
        let what = if named { "is not an action callback" } else { "does not exist" };
        let callbacks: Vec<_> =
            owner.methods.iter().filter(|m| m.target().is_some()).map(|m| m.name.as_str()).collect();
        let hint = match callbacks.as_slice() {
            [] => format!("`{}` has no callbacks", owner.name),
            names => format!("`{}` has {}", owner.name, names.join(", ")),
        };
        Err((format!("`{}::{}` {what}", owner.name, kind.method), hint))
    }

    /// Decides the role of every method; what is wrong goes to `errors`.
    pub fn resolve(&self, class: &Rc<Class>, mode: Mode, errors: &mut Vec<Diagnostic>) -> Resolved {
        let mut methods = Vec::new();
        for method in &class.methods {
            match self.role(class, method, mode) {
                Ok(role) => methods.push((method.clone(), role)),
                Err((at, token, message, hint)) => errors.push(class.source.error(at, &token, message, hint)),
            }
        }
        let mut seen = HashSet::new();
        for (method, role) in &methods {
            let dispatched = !matches!(role, Role::Local | Role::LocalOverride);
            if dispatched && !seen.insert(method.name.clone()) {
                let text = format!("dispatched method `{}` is declared twice", method.name);
                errors.push(class.source.error(
                    method.at,
                    &method.name,
                    text,
                    "dispatched methods cannot be overloaded",
                ));
            }
        }
        let is_abstract = self.is_abstract(class, &methods);
        Resolved { class: Rc::clone(class), methods, is_abstract }
    }

    fn is_abstract(&self, class: &Rc<Class>, methods: &[(Method, Role)]) -> bool {
        let own = methods.iter().any(|(method, role)| method.pure && matches!(role, Role::Local | Role::LocalOverride));
        let bases = self.bases(class);
        own || bases.iter().enumerate().any(|(depth, base)| {
            base.methods.iter().filter(|m| m.local_only && m.pure).any(|pure| {
                let below = bases.iter().take(depth).map(|class| &class.methods).chain([&class.methods]);
                !below.flatten().any(|m| m.name == pure.name && m.signature() == pure.signature())
            })
        })
    }

    fn role(&self, class: &Class, method: &Method, mode: Mode) -> Result<Role, (usize, String, String, String)> {
        let fail = |message: String, hint: String| Err((method.at, method.name.clone(), message, hint));
        if let (Mode::User, true, Some(queue)) = (mode, method.local_only, &method.queue) {
            return Err((
                queue.at,
                "QUEUENAME".to_owned(),
                format!("`{}` names a queue, but a LOCALONLY method runs wherever it is called", method.name),
                "remove QUEUENAME".to_owned(),
            ));
        }
        if let Some(kind) = &method.callback_type {
            return self.callback_role(class, method, kind);
        }
        let overridden = self.overridden(class, method);
        match overridden {
            Some((found, exact)) if method.is_override || (exact && found.method.is_virtual && !method.is_static) => {
                if !found.method.is_virtual {
                    return fail(
                        format!("`{}` overrides a method of `{}` that is not virtual", method.name, found.class.name),
                        "give the method another name".to_owned(),
                    );
                }
                if found.method.local_only {
                    return Ok(Role::LocalOverride);
                }
                if method.local_only {
                    return fail(
                        format!("`{}` is LOCALONLY here, but `{}` dispatches it", method.name, found.class.name),
                        "remove LOCALONLY".to_owned(),
                    );
                }
                Ok(Role::Override(found))
            }
            _ if method.is_override => {
                let (message, hint) = self.no_base(class, method);
                fail(message, hint)
            }
            _ if method.local_only => Ok(Role::Local),
            _ if method.result != "void" && !RESULTS.contains(&method.result.as_str()) => fail(
                format!("dispatched method `{}` returns {}", method.name, method.result),
                "dispatched methods return kern_return_t, another integer of at most 32 bits, or void; add LOCALONLY to \
                 any other, `override` if a base class declares it"
                    .to_owned(),
            ),
            _ => match method.parameters.iter().find(|p| p.type_text.contains('&') || p.type_text == "...") {
                Some(parameter) => fail(
                    format!("dispatched method `{}` takes `{}`", method.name, parameter.type_text),
                    "a message carries values, pointers and arrays; add LOCALONLY to a method that stays in the driver"
                        .to_owned(),
                ),
                None => Ok(Role::New),
            },
        }
    }

    fn callback_role(
        &self,
        class: &Class,
        method: &Method,
        kind: &CallbackType,
    ) -> Result<Role, (usize, String, String, String)> {
        let found =
            self.callback(class, kind).map_err(|(message, hint)| (kind.at, "TYPE".to_owned(), message, hint))?;
        let fail = |message: String, hint: String| Err((method.at, method.name.clone(), message, hint));
        let wanted = &found.method;
        if method.parameters.len() != wanted.parameters.len() {
            return fail(
                format!(
                    "`{}` has {} parameters, `{}::{}` has {}",
                    method.name,
                    method.parameters.len(),
                    found.class.name,
                    wanted.name,
                    wanted.parameters.len()
                ),
                format!("declare it as void {}", Method { name: method.name.clone(), ..wanted.clone() }.display()),
            );
        }
        if method.result != "void" {
            return fail(
                format!("callback `{}` returns {}", method.name, method.result),
                "callbacks return void".to_owned(),
            );
        }
        if method.local_only || method.is_static {
            let word = if method.local_only { "LOCALONLY" } else { "static" };
            return fail(format!("callback `{}` cannot be {word}", method.name), format!("remove {word}"));
        }
        Ok(Role::Callback(found))
    }

    fn no_base(&self, class: &Class, method: &Method) -> (String, String) {
        let bases = self.bases(class);
        let all: Vec<_> = bases.iter().flat_map(|base| base.methods.iter().map(move |m| (base, m))).collect();
        if let Some((base, same)) = all.iter().find(|(_, m)| m.name == method.name) {
            return (
                format!("`{}` has other parameters than the method of `{}` it overrides", method.name, base.name),
                format!("the base declares {}", same.display()),
            );
        }
        let near = all.iter().filter(|(_, m)| m.is_virtual).min_by_key(|(_, m)| distance(&m.name, &method.name));
        let hint = match near {
            Some((base, m)) if distance(&m.name, &method.name) <= 3 => {
                format!("did you mean {}::{}?", base.name, m.name)
            }
            _ => "remove `override`, or add LOCALONLY to a method of your own".to_owned(),
        };
        (format!("`{}` overrides nothing: no base class of `{}` declares it", method.name, class.name), hint)
    }
}
