//! The generated header: the text of the definition with each class replaced by its C++ form.

use super::{action_class, in_interface, is_callback, message_id, more_arguments, parameters};
use crate::Mode;
use crate::model::Method;
use crate::parse::File;
use crate::resolve::{Resolved, Role};
use std::fmt::Write as _;

/// The whole header.
pub fn header(file: &File, classes: &[Resolved], mode: Mode) -> String {
    let mut edits: Vec<(usize, usize, String)> = file
        .renames
        .iter()
        .filter_map(|(start, end)| {
            let name = file.source.text.get(*start..*end)?;
            Some((*start, *end, format!("{}.h", name.trim_end_matches(".iig"))))
        })
        .collect();
    for class in &file.classes {
        let text = match classes.iter().find(|resolved| resolved.class.name == class.name) {
            Some(resolved) => {
                let lines = (class.source.line(class.span.0), class.source.line(class.span.1.saturating_sub(1)));
                let name = file_name(file);
                let mut text = format!("/* class {} {name}:{}-{} */\n\n", class.name, lines.0, lines.1);
                definition(resolved, mode, &mut text);
                for action in callbacks(resolved) {
                    text.push_str("#include <DriverKit/OSAction.h>\n\n");
                    definition(&action, mode, &mut text);
                }
                text
            }
            None => String::new(),
        };
        edits.push((class.span.0, class.span.1, text));
    }
    edits.sort_by_key(|edit| edit.0);
    let mut out = format!("/* generated from {} */\n\n", file_name(file));
    let mut at = 0;
    for (start, end, text) in edits {
        out.push_str(file.source.text.get(at..start).unwrap_or(""));
        out.push_str(&text);
        at = end;
    }
    out.push_str(file.source.text.get(at..).unwrap_or(""));
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

pub fn file_name(file: &File) -> String {
    file.source.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The classes of the actions that a class's callbacks need.
pub fn callbacks(resolved: &Resolved) -> impl Iterator<Item = Resolved> {
    let own = resolved.methods.iter().filter(|(_, role)| is_callback(role));
    own.map(|(method, _)| action_class(&resolved.class, method))
}

fn definition(resolved: &Resolved, mode: Mode, out: &mut String) {
    let name = &resolved.class.name;
    identifiers(resolved, mode, out);
    define(out, &format!("{name}_Methods"), &method_lines(resolved));
    define(out, &format!("{name}_VirtualMethods"), &virtual_lines(resolved));
    let _ = write!(
        out,
        "extern OSMetaClass * g{name}MetaClass;\n\
         extern const OSClassLoadInformation {name}_Class;\n\n\
         class {name}MetaClass : public OSMetaClass\n{{\npublic:\n    \
         virtual kern_return_t\n    New(OSObject * instance) override;\n    \
         virtual kern_return_t\n    Dispatch(const IORPC rpc) override;\n}};\n\n"
    );
    interface(resolved, out);
    class_definition(resolved, out);
}

/// `_ID` and `_Args` macros.
fn identifiers(resolved: &Resolved, mode: Mode, out: &mut String) {
    let class = &resolved.class;
    let mut any = false;
    for (method, role) in &resolved.methods {
        if matches!(role, Role::New) || is_callback(role) {
            let id = message_id(&class.name, &method.name, mode == Mode::Framework);
            let _ = writeln!(out, "#define {}_{}_ID 0x{id:016x}ULL", class.name, method.name);
            any = true;
        }
    }
    if any {
        out.push('\n');
    }
    for (method, role) in &resolved.methods {
        if !matches!(role, Role::Local | Role::LocalOverride) {
            let lines: Vec<_> = separated(&parameters(method, false), "        ");
            define(out, &format!("{}_{}_Args", class.name, method.name), &lines);
        }
    }
}

fn separated(items: &[String], indent: &str) -> Vec<String> {
    let last = items.len().saturating_sub(1);
    items.iter().enumerate().map(|(at, item)| format!("{indent}{item}{}", if at < last { "," } else { "" })).collect()
}

/// `#define name`, continued over the lines.
fn define(out: &mut String, name: &str, lines: &[String]) {
    let _ = write!(out, "#define {name}");
    for line in lines {
        out.push_str(" \\\n");
        out.push_str(line);
    }
    out.push_str("\n\n");
}

/// A declaration over several lines: one for the result, one for each parameter.
fn declaration(prefix: &str, name: &str, arguments: &[String], suffix: &str, lines: &mut Vec<String>) {
    lines.push(format!("    {prefix}"));
    if arguments.is_empty() {
        lines.push(format!("    {name}(){suffix};"));
    } else {
        lines.push(format!("    {name}("));
        let mut list = separated(arguments, "        ");
        if let Some(last) = list.last_mut() {
            let _ = write!(last, "){suffix};");
        }
        lines.append(&mut list);
    }
    lines.push(String::new());
}

fn blank_joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

fn suffixed(parts: &[&str]) -> String {
    let joined = blank_joined(parts);
    if joined.is_empty() { joined } else { format!(" {joined}") }
}

fn method_lines(resolved: &Resolved) -> Vec<String> {
    let class = &resolved.class;
    let name = &class.name;
    let mut lines = vec!["public:".to_owned(), String::new()];
    declaration(
        "virtual kern_return_t",
        "Dispatch",
        &["const IORPC rpc".to_owned()],
        " APPLE_KEXT_OVERRIDE",
        &mut lines,
    );
    let dispatch = [format!("{name} * self"), "const IORPC rpc".to_owned()];
    declaration("static kern_return_t", "_Dispatch", &dispatch, "", &mut lines);
    for (method, role) in &resolved.methods {
        if is_callback(role) {
            let arguments = ["size_t referenceSize".to_owned(), "OSAction ** action".to_owned()];
            declaration("kern_return_t", &format!("CreateAction{}", method.name), &arguments, "", &mut lines);
        }
    }
    for (method, role) in &resolved.methods {
        stub_declaration(method, role, &mut lines);
    }
    lines.extend(["protected:".to_owned(), "    /* _Impl methods */".to_owned(), String::new()]);
    for (method, role) in &resolved.methods {
        let implemented = match role {
            Role::New => !method.pure,
            Role::Override(_) | Role::Callback(_) => !method.pure,
            Role::Local | Role::LocalOverride => false,
        };
        if implemented {
            let prefix = blank_joined(&[if method.is_static { "static" } else { "" }, &method.result]);
            let arguments = format!("{name}_{}_Args", method.name);
            declaration(&prefix, &format!("{}_Impl", method.name), &[arguments], "", &mut lines);
        }
    }
    lines.extend(["public:".to_owned(), "    /* _Invoke methods */".to_owned(), String::new()]);
    for (method, role) in &resolved.methods {
        if matches!(role, Role::New) {
            invoke_declaration(name, method, &mut lines);
        }
    }
    lines
}

fn stub_declaration(method: &Method, role: &Role, lines: &mut Vec<String>) {
    let stub = matches!(role, Role::New) || is_callback(role);
    let local = matches!(role, Role::Local) && (!method.is_virtual || method.is_static);
    if !stub && !local {
        return;
    }
    let mut arguments = parameters(method, true);
    if stub && !method.is_static {
        arguments.push("OSDispatchMethod supermethod = NULL".to_owned());
    }
    let prefix = blank_joined(&[&method.leading, if method.is_static { "static" } else { "" }, &method.result]);
    let suffix = suffixed(&[&method.qualifiers, &method.attributes]);
    declaration(&prefix, &method.name, &arguments, &suffix, lines);
}

fn invoke_declaration(class: &str, method: &Method, lines: &mut Vec<String>) {
    let name = &method.name;
    let rpc = "const IORPC rpc".to_owned();
    let handler = format!("{name}_Handler func");
    if method.is_static {
        lines.push(format!("    typedef {} (*{name}_Handler)({class}_{name}_Args);", method.result));
        declaration("static kern_return_t", &format!("{name}_Invoke"), &[rpc, handler], "", lines);
        return;
    }
    let more = more_arguments(class, method);
    lines.push(format!("    typedef {} (*{name}_Handler)(OSMetaClassBase * __target{more});", method.result));
    let target = "OSMetaClassBase * target".to_owned();
    let mut arguments = vec![rpc, target, handler];
    declaration("static kern_return_t", &format!("{name}_Invoke"), &arguments, "", lines);
    if method.target().is_some() {
        arguments.push("const OSMetaClass * targetActionClass".to_owned());
        declaration("static kern_return_t", &format!("{name}_Invoke"), &arguments, "", lines);
    }
}

fn virtual_lines(resolved: &Resolved) -> Vec<String> {
    let mut lines = vec!["public:".to_owned(), String::new()];
    for (method, role) in &resolved.methods {
        let overrides = match role {
            Role::LocalOverride => true,
            Role::Local if method.is_virtual && !method.is_static => in_interface(&resolved.class, method, role),
            _ => continue,
        };
        let prefix = blank_joined(&[&method.leading, "virtual", &method.result]);
        let suffix = suffixed(&[
            &method.qualifiers,
            if overrides { "APPLE_KEXT_OVERRIDE" } else { "" },
            &method.attributes,
            if method.pure { "= 0" } else { "" },
        ]);
        declaration(&prefix, &method.name, &parameters(method, true), &suffix, &mut lines);
    }
    lines
}

fn interface(resolved: &Resolved, out: &mut String) {
    let class = &resolved.class;
    let _ = write!(out, "class {}Interface : public OSInterface\n{{\npublic:\n", class.name);
    for (method, role) in &resolved.methods {
        if in_interface(class, method, role) {
            let mut lines = Vec::new();
            let suffix = suffixed(&[&method.qualifiers, "= 0"]);
            declaration(
                &format!("virtual {}", method.result),
                &method.name,
                &parameters(method, false),
                &suffix,
                &mut lines,
            );
            out.push_str(&lines.join("\n"));
            out.push('\n');
        }
    }
    out.push_str("};\n\n");
}

fn class_definition(resolved: &Resolved, out: &mut String) {
    let class = &resolved.class;
    let name = &class.name;
    let base = class.base.as_deref().unwrap_or("OSMetaClassBase");
    let others: String = class.other_bases.iter().map(|other| format!(", {other}")).collect();
    let _ = write!(
        out,
        "struct {name}_IVars;\nstruct {name}_LocalIVars;\n\n\
         class {name} : public {base}, public {name}Interface{others}\n{{\n    friend class {name}MetaClass;\n\n\
         public:\n#ifdef {name}_DECLARE_IVARS\n{name}_DECLARE_IVARS\n#else\n    union\n    {{\n        \
         {name}_IVars * ivars;\n        {name}_LocalIVars * lvars;\n    }};\n#endif\n\n    \
         static OSMetaClass *\n    sGetMetaClass() {{ return g{name}MetaClass; }}\n\n    using super = {base};\n\n"
    );
    verbatim(&class.types, out);
    let _ = writeln!(out, "    {name}_Methods\n    {name}_VirtualMethods\n");
    verbatim(&class.plain, out);
    out.push_str("};\n\n");
}

fn verbatim(members: &[String], out: &mut String) {
    for member in members {
        let _ = writeln!(out, "    {member}");
    }
    if !members.is_empty() {
        out.push('\n');
    }
}
