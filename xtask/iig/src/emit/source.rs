//! The generated source: messages, registration, dispatch, stubs, unpackers, action makers.

use super::header::{callbacks, file_name};
use super::{is_callback, more_arguments, names, parameters};
use crate::model::{Class, Method, Parameter};
use crate::parse::{File, Table};
use crate::resolve::{Introduced, Resolved, Role};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::rc::Rc;

/// The whole source file; `include` is the header's name with its quotes or brackets.
pub fn source(file: &File, classes: &[Resolved], table: &Table, include: &str) -> String {
    let name = file_name(file);
    let mut out = format!(
        "/* generated from {name} */\n\n#undef IIG_IMPLEMENTATION\n#define IIG_IMPLEMENTATION {name}\n\n\
         #include <DriverKit/IOReturn.h>\n#include <DriverKit/OSAction.h>\n#include {include}\n\n"
    );
    if classes.iter().any(|resolved| callbacks(resolved).next().is_some()) {
        out.push_str("#include <DriverKit/OSString.h>\n\n");
    }
    if !file.implementation.is_empty() {
        let _ = write!(out, "/* @iig implementation */\n{}/* @iig end */\n\n", file.implementation);
    }
    let mut writer = Writer { out, table, messages: HashSet::new() };
    for resolved in classes {
        writer.class(resolved);
        for action in callbacks(resolved) {
            writer.class(&action);
        }
    }
    writer.out
}

struct Writer<'a> {
    out: String,
    table: &'a Table,
    /// Message types already written.
    messages: HashSet<String>,
}

/// How one parameter is stored.
enum Field {
    Object,
    /// Written as it is; arrays as pointers.
    Value,
    /// Arrays inside the message.
    Copied,
}

impl Writer<'_> {
    fn class(&mut self, resolved: &Resolved) {
        for (method, role) in &resolved.methods {
            match role {
                Role::New => self.message(&resolved.class, method),
                Role::Callback(kind) => self.message(&kind.class, &kind.method),
                _ => {}
            }
        }
        self.registration(resolved);
        self.dispatch(resolved);
        self.meta_dispatch(resolved);
        for (method, role) in &resolved.methods {
            match role {
                Role::New => {
                    self.stub(
                        &resolved.class,
                        method,
                        &Introduced { class: resolved.class.clone(), method: method.clone() },
                    );
                    self.invoke(&resolved.class, method);
                }
                Role::Callback(kind) => {
                    self.stub(&resolved.class, method, kind);
                    self.create_action(&resolved.class, method, kind);
                }
                _ => {}
            }
        }
    }

    fn field(&self, method: &Method, parameter: &Parameter) -> Field {
        let object = parameter
            .pointee
            .as_ref()
            .is_some_and(|pointee| self.table.classes.contains_key(pointee) || self.table.forward.contains(pointee));
        match (object, method.oneway()) {
            (true, _) => Field::Object,
            (false, true) => Field::Copied,
            (false, false) => Field::Value,
        }
    }

    fn message(&mut self, class: &Class, method: &Method) {
        let name = format!("{}_{}", class.name, method.name);
        if !self.messages.insert(name.clone()) {
            return;
        }
        let mut fields = String::new();
        let mut references = vec!["__object".to_owned()];
        for parameter in &method.parameters {
            let field = match self.field(method, parameter) {
                Field::Object => {
                    references.push(parameter.name.clone());
                    "OSObjectRef".to_owned()
                }
                Field::Value => format!("IORPCField<{}>::type", parameter.type_text),
                Field::Copied => format!("IORPCCopiedField<{}>::type", parameter.type_text),
            };
            let _ = writeln!(fields, "    {field} {};", parameter.name);
        }
        let references: Vec<_> = references
            .iter()
            .map(|field| format!("(1ULL << (__builtin_offsetof({name}_Msg_Content, {field}) / sizeof(OSObjectRef)))"))
            .collect();
        let _ = write!(
            self.out,
            "#ifndef {name}_Msg_ObjRefs\nstruct {name}_Msg_Content\n{{\n    IORPCMessage __hdr;\n    OSObjectRef __object;\n{fields}}};\n\n\
             struct {name}_Msg\n{{\n    IORPCMessageMach mach;\n    {name}_Msg_Content content;\n}};\n\n\
             #define {name}_Msg_ObjRefs ( \\\n    {})\n#endif\n\n",
            references.join(" | \\\n    ")
        );
    }

    fn registration(&mut self, resolved: &Resolved) {
        let class = &resolved.class;
        let name = &class.name;
        let mut count = 0;
        let mut rows = String::new();
        for (method, role) in &resolved.methods {
            let (owner, introduced) = match role {
                Role::Override(found) => (&found.class.name, &found.method),
                Role::New | Role::Callback(_) => (name, method),
                Role::Local | Role::LocalOverride => continue,
            };
            let mut flags = Vec::new();
            if matches!(role, Role::New) || is_callback(role) {
                flags.push("kOSMethodIntroduced");
            }
            if method.is_static {
                flags.push("kOSMethodStatic");
            }
            if method.pure {
                flags.push("kOSMethodPure");
            }
            if introduced.oneway() {
                flags.push("kOSMethodOneway");
            }
            if is_callback(role) {
                flags.push("kOSMethodAction");
            }
            let flags = if flags.is_empty() { "0".to_owned() } else { flags.join(" | ") };
            let queue = method.queue.as_ref().or(introduced.queue.as_ref());
            let queue = queue.map_or("NULL".to_owned(), |queue| format!("\"{}\"", queue.text));
            let method_name = &introduced.name;
            let _ = writeln!(rows, "    {{ {owner}_{method_name}_ID, \"{owner}::{method_name}\", {queue}, {flags} }},");
            count += 1;
        }
        let table = if count == 0 {
            "NULL".to_owned()
        } else {
            let _ =
                write!(self.out, "static const OSMethodDescription {name}_MethodDescriptions[] =\n{{\n{rows}}};\n\n");
            format!("{name}_MethodDescriptions")
        };
        let base = class.base.as_deref().unwrap_or("");
        let new = if resolved.is_abstract {
            "    (void) instance;\n    return kIOReturnUnsupported;".to_owned()
        } else {
            format!("    if (!new(instance) {name}) return kIOReturnNoMemory;\n    return kIOReturnSuccess;")
        };
        let _ = write!(
            self.out,
            "static const OSClassDescription OSClassDescription_{name} =\n{{\n    \
             .descriptionSize = sizeof(OSClassDescription),\n    .methodCount = {count},\n    \
             .name = \"{name}\",\n    .superName = \"{base}\",\n    .flags = 0,\n    .methods = {table},\n}};\n\n\
             OSMetaClass * g{name}MetaClass;\n\n\
             static kern_return_t\n{name}_New(OSMetaClass * instance)\n{{\n    \
             static_assert(sizeof({name}MetaClass) == sizeof(OSMetaClass), \"metaclasses carry no state\");\n    \
             if (!new(instance) {name}MetaClass) return kIOReturnNoMemory;\n    return kIOReturnSuccess;\n}}\n\n\
             const OSClassLoadInformation\n{name}_Class =\n{{\n    \
             .description = &OSClassDescription_{name},\n    .metaPointer = &g{name}MetaClass,\n    \
             .version = 1,\n    .instanceSize = sizeof({name}),\n    .resv2 = {{0}},\n    \
             .New = &{name}_New,\n    .resv3 = {{0}},\n}};\n\nOSDefineClassRegistration({name})\n\n\
             kern_return_t\n{name}MetaClass::New(OSObject * instance)\n{{\n{new}\n}}\n\n"
        );
    }

    fn dispatch(&mut self, resolved: &Resolved) {
        let name = &resolved.class.name;
        let mut cases = String::new();
        for (method, role) in &resolved.methods {
            if method.is_static || method.pure {
                continue;
            }
            let Some((introduced, kind)) = self.entry(&resolved.class, method, role) else { continue };
            let (id_owner, owner) = (&introduced.class.name, &kind.class.name);
            let action = if introduced.method.callback_type.is_some() {
                format!(",\n                OSTypeID(OSAction_{id_owner}_{})", introduced.method.name)
            } else {
                String::new()
            };
            let _ = write!(
                cases,
                "        case {id_owner}_{}_ID:\n            return {owner}::{}_Invoke(rpc, self,\n                \
                 [](OSMetaClassBase * __target{}) -> {} {{\n                    \
                 return static_cast<{name} *>(__target)->{}_Impl({});\n                }}{action});\n",
                introduced.method.name,
                kind.method.name,
                more_arguments(owner, &kind.method),
                kind.method.result,
                method.name,
                names(&kind.method),
            );
        }
        let default = match resolved.class.base.as_deref() {
            Some(base) if base != "OSMetaClassBase" => format!("{base}::_Dispatch(self, rpc)"),
            _ => "self->OSMetaClassBase::Dispatch(rpc)".to_owned(),
        };
        let _ = write!(
            self.out,
            "kern_return_t\n{name}::Dispatch(const IORPC rpc)\n{{\n    return _Dispatch(this, rpc);\n}}\n\n\
             kern_return_t\n{name}::_Dispatch({name} * self, const IORPC rpc)\n{{\n    \
             IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);\n\n    \
             switch (msg->msgid)\n    {{\n{cases}        default:\n            return {default};\n    }}\n}}\n\n"
        );
    }

    /// Who introduced a dispatched method, and whose unpacker it uses: a callback's is that of its kind.
    fn entry(&self, class: &Rc<Class>, method: &Method, role: &Role) -> Option<(Introduced, Introduced)> {
        let own = Introduced { class: Rc::clone(class), method: method.clone() };
        match role {
            Role::New => Some((own.clone(), own)),
            Role::Callback(kind) => Some((own, kind.clone())),
            Role::Override(found) => {
                let kind =
                    found.method.callback_type.as_ref().and_then(|kind| self.table.callback(&found.class, kind).ok());
                Some((found.clone(), kind.unwrap_or_else(|| found.clone())))
            }
            Role::Local | Role::LocalOverride => None,
        }
    }

    fn meta_dispatch(&mut self, resolved: &Resolved) {
        let name = &resolved.class.name;
        let mut cases = String::new();
        for (method, role) in &resolved.methods {
            if matches!(role, Role::New) && method.is_static {
                let _ = write!(
                    cases,
                    "        case {name}_{0}_ID:\n            return {name}::{0}_Invoke(rpc, &{name}::{0}_Impl);\n",
                    method.name
                );
            }
        }
        let _ = write!(
            self.out,
            "kern_return_t\n{name}MetaClass::Dispatch(const IORPC rpc)\n{{\n    \
             IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);\n\n    \
             switch (msg->msgid)\n    {{\n{cases}        default:\n            \
             return OSMetaClassBase::Dispatch(rpc);\n    }}\n}}\n\n"
        );
    }

    /// The method that callers see. `kind` gives the layout of the message: the method itself or its callback type.
    fn stub(&mut self, class: &Class, method: &Method, kind: &Introduced) {
        let message = format!("{}_{}_Msg", kind.class.name, kind.method.name);
        let callback = method.callback_type.is_some();
        let mut arguments = parameters(method, false);
        if !method.is_static {
            arguments.push("OSDispatchMethod supermethod".to_owned());
        }
        let oneway = method.oneway();
        let mut flags = Vec::new();
        if oneway {
            flags.push("kIORPCMessageOneway");
        }
        let target = method.target().filter(|_| !callback).and_then(|at| method.parameters.get(at));
        let receiver = match target {
            Some(action) => {
                flags.push("kIORPCMessageAction");
                action.name.clone()
            }
            None if method.is_static => format!("OSTypeID({})", class.name),
            None => "this".to_owned(),
        };
        let flags = if flags.is_empty() { "0".to_owned() } else { flags.join(" | ") };
        let fail = if method.result == "void" { "return" } else { "return kIOReturnOverrun" };
        let mut stores = String::new();
        for (at, (own, field)) in method.parameters.iter().zip(&kind.method.parameters).enumerate() {
            let (from, to) = (&own.name, &field.name);
            let _ = match self.field(&kind.method, field) {
                Field::Object => writeln!(stores, "    __msg.content.{to} = (OSObjectRef) {from};"),
                Field::Value => writeln!(stores, "    __msg.content.{to} = {from};"),
                Field::Copied => {
                    let counted = kind.method.parameters.get(at + 1).filter(|next| next.name == format!("{to}Count"));
                    let count = match counted.and(method.parameters.get(at + 1)) {
                        Some(count) => count.name.clone(),
                        None => format!("IORPCCount<{}>::value", field.type_text),
                    };
                    writeln!(
                        stores,
                        "    if (!IORPCCopiedField<{}>::Store(__msg.content.{to}, {from}, {count})) {fail};",
                        field.type_text
                    )
                }
            };
        }
        let call = if method.is_static {
            format!("OSMTypeID({})->Invoke(__rpc)", class.name)
        } else {
            "supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc)".to_owned()
        };
        let call = if method.result == "void" { format!("(void) ({call})") } else { format!("return {call}") };
        let _ = write!(
            self.out,
            "{}\n{}::{}(\n        {})\n{{\n    {message} __msg = {{}};\n\n    \
             __msg.mach.msgh.msgh_id = kIORPCVersion190615;\n    \
             __msg.mach.msgh.msgh_size = sizeof(__msg);\n    \
             __msg.content.__hdr.msgid = {}_{}_ID;\n    \
             __msg.content.__hdr.flags = {flags};\n    \
             __msg.content.__hdr.objectRefs = {message}_ObjRefs;\n    \
             __msg.content.__object = (OSObjectRef) {receiver};\n{stores}\n    \
             IORPC __rpc = {{ .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 }};\n    \
             {call};\n}}\n\n",
            method.result,
            class.name,
            method.name,
            arguments.join(",\n        "),
            class.name,
            method.name,
        );
    }

    /// Unpacks a message and calls the handler.
    fn invoke(&mut self, class: &Class, method: &Method) {
        let name = format!("{}_{}", class.name, method.name);
        let heading = |target: &str, action: &str| {
            format!(
                "kern_return_t\n{}::{}_Invoke(const IORPC rpc,\n        {target}{}_Handler func{action})\n{{\n",
                class.name, method.name, method.name
            )
        };
        let (target, first) = if method.is_static {
            ("", Vec::new())
        } else {
            ("OSMetaClassBase * target,\n        ", vec!["target".to_owned()])
        };
        let mut checks = String::new();
        if let Some(action) = method.target().and_then(|at| method.parameters.get(at)) {
            let _ = write!(
                self.out,
                "{}    return {}::{}_Invoke(rpc, target, func, NULL);\n}}\n\n",
                heading(target, ""),
                class.name,
                method.name
            );
            let _ = write!(
                checks,
                "    OSMetaClassBase * __action = (OSMetaClassBase *) __message->content.{};\n    \
                 if (targetActionClass && !(__action && OSMetaClassBase::safeMetaCast(__action, targetActionClass)))\n        \
                 return kIOReturnBadArgument;\n",
                action.name
            );
            self.out.push_str(&heading(target, ",\n        const OSMetaClass * targetActionClass"));
        } else {
            self.out.push_str(&heading(target, ""));
        }
        let unpacked = method.parameters.iter().map(|parameter| {
            let field = format!("__message->content.{}", parameter.name);
            match (self.field(method, parameter), &parameter.pointee) {
                (Field::Object, Some(pointee)) => format!("({pointee} *) {field}"),
                (Field::Copied, _) => format!("IORPCCopiedField<{}>::Load({field})", parameter.type_text),
                _ => field,
            }
        });
        let arguments: Vec<String> = first.into_iter().chain(unpacked).collect();
        let call = format!("(*func)({})", arguments.join(",\n        "));
        let call = if method.result == "void" {
            format!("{call};\n    return kIOReturnSuccess")
        } else {
            format!("return {call}")
        };
        let _ = write!(
            self.out,
            "    const {name}_Msg * __message = (const {name}_Msg *) (const void *) rpc.message;\n\n    \
             if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;\n    \
             if (__message->content.__hdr.objectRefs != ({name}_Msg_ObjRefs)) return kIOReturnIPCError;\n{checks}\n    \
             {call};\n}}\n\n"
        );
    }

    fn create_action(&mut self, class: &Class, method: &Method, kind: &Introduced) {
        let name = &class.name;
        let action = format!("OSAction_{name}_{}", method.name);
        let _ = write!(
            self.out,
            "kern_return_t\n{name}::CreateAction{0}(size_t referenceSize, OSAction ** action)\n{{\n    \
             OSString * typeName = OSString::withCString(\"{action}\");\n    \
             if (!typeName) return kIOReturnNoMemory;\n    \
             kern_return_t ret = {action}::CreateWithTypeName(this,\n        {name}_{0}_ID,\n        {1}_{2}_ID,\n        \
             referenceSize,\n        typeName, action);\n    typeName->release();\n    return ret;\n}}\n\n",
            method.name, kind.class.name, kind.method.name
        );
    }
}
