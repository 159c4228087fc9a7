//! Plists and entitlements from their templates.

use std::path::Path;

use anyhow::{Context, Result, bail};
use plist::{Dictionary, Value};

use super::config::{Config, Variant};
use crate::sh;

/// The four property lists of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Plists {
    /// The app's Info.plist.
    pub app_info: Dictionary,
    /// The extension's Info.plist.
    pub dext_info: Dictionary,
    /// What the app is signed with.
    pub app_entitlements: Dictionary,
    /// What the extension is signed with.
    pub dext_entitlements: Dictionary,
}

/// Key of both Info.plists that says that a bundle was cross-built and is for checks only.
pub const CHECK_BUILD: &str = "WeirCheckBuild";

/// Fills in the templates of the project.
///
/// # Errors
/// A template is not a property list, or names an unknown variable.
pub fn plists(config: &Config, variant: Variant) -> Result<Plists> {
    let root = sh::root();
    let entitlements = |what: &str| root.join(format!("entitlements/{what}.{}.entitlements", variant.name()));
    let mut plists = Plists {
        app_info: read(&root.join("cli/mac/App-Info.plist"), config)?,
        dext_info: read(&root.join("Info.plist"), config)?,
        app_entitlements: read(&entitlements("app"), config)?,
        dext_entitlements: read(&entitlements("dext"), config)?,
    };
    let transports = transports(&plists.dext_info);
    for (key, value) in transports {
        if !plists.dext_entitlements.contains_key(&key) {
            plists.dext_entitlements.insert(key, value);
        }
    }
    Ok(plists)
}

/// Reads one template and replaces `$(NAME)` in its strings and keys.
///
/// # Errors
/// See [`plists`].
pub fn read(path: &Path, config: &Config) -> Result<Dictionary> {
    let value = Value::from_file(path).with_context(|| format!("{} is no property list", path.display()))?;
    let value = substitute(value, config).with_context(|| path.display().to_string())?;
    value.into_dictionary().with_context(|| format!("{} is no dictionary", path.display()))
}

fn substitute(value: Value, config: &Config) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::String(replace(&text, config)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| substitute(item, config)).collect::<Result<_>>()?)
        }
        Value::Dictionary(items) => {
            let mut out = Dictionary::new();
            for (key, item) in items {
                out.insert(replace(&key, config)?, substitute(item, config)?);
            }
            Value::Dictionary(out)
        }
        other => other,
    })
}

fn replace(text: &str, config: &Config) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        let Some((name, tail)) = after.split_once(')') else { bail!("`{text}` opens $( and does not close it") };
        let Some(value) = config.variable(name) else { bail!("$({name}) is no variable of weir.toml") };
        out.push_str(before);
        out.push_str(&value);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Matching keys that the transport entitlements speak of.
const PCI_KEYS: &[&str] = &["IOPCIMatch", "IOPCIPrimaryMatch", "IOPCISecondaryMatch", "IOPCIClassMatch"];
const USB_KEYS: &[&str] = &[
    "idVendor",
    "idProduct",
    "bcdDevice",
    "bInterfaceNumber",
    "bConfigurationValue",
    "bInterfaceClass",
    "bInterfaceSubClass",
    "bInterfaceProtocol",
];

/// The transport entitlements that the personalities need: what each matches, without duplicates, in order.
pub fn transports(dext_info: &Dictionary) -> Vec<(String, Value)> {
    let mut pci: Vec<Value> = Vec::new();
    let mut usb: Vec<Value> = Vec::new();
    for personality in personalities(dext_info).map(|(_, personality)| personality) {
        let (list, keys) = match personality.get("IOProviderClass").and_then(Value::as_string) {
            Some("IOPCIDevice") => (&mut pci, PCI_KEYS),
            Some("IOUSBHostInterface" | "IOUSBHostDevice") => (&mut usb, USB_KEYS),
            _ => continue,
        };
        let mut entry = Dictionary::new();
        for key in keys {
            if let Some(value) = personality.get(key) {
                entry.insert((*key).to_owned(), value.clone());
            }
        }
        if let Some(Value::Array(products)) = personality.get("idProductArray") {
            for product in products {
                let mut one = entry.clone();
                one.insert("idProduct".to_owned(), product.clone());
                push_new(list, Value::Dictionary(one));
            }
            continue;
        }
        push_new(list, Value::Dictionary(entry));
    }
    [("pci", pci), ("usb", usb)]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(bus, list)| (format!("com.apple.developer.driverkit.transport.{bus}"), Value::Array(list)))
        .collect()
}

fn push_new(list: &mut Vec<Value>, value: Value) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// Names and contents of `IOKitPersonalities`.
pub fn personalities(dext_info: &Dictionary) -> impl Iterator<Item = (&String, &Dictionary)> {
    dext_info
        .get("IOKitPersonalities")
        .and_then(Value::as_dictionary)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| value.as_dictionary().map(|personality| (name, personality)))
}

/// XML text of a property list, the same for the same contents.
///
/// # Errors
/// A value that XML property lists do not have.
pub fn xml(dictionary: &Dictionary) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    Value::Dictionary(dictionary.clone()).to_writer_xml(&mut out)?;
    out.push(b'\n');
    Ok(out)
}
