//! What the kernel, dyld and Apple's portal require of the plists and entitlements of an app with a network driver
//! extension. Sources: IOUserNetworkEthernet personalities as they are documented and as drivers in the field have
//! them, xnu's IOCatalogue matching, the entitlement pages of developer.apple.com.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use super::config::{Config, Variant, version};
use super::finding::Findings;
use super::template::{CHECK_BUILD, Plists, personalities, transports};

const DEXT_INFO: &str = "dext Info.plist";
const APP_INFO: &str = "app Info.plist";
const DEXT_ENTITLEMENTS: &str = "dext entitlements";
const APP_ENTITLEMENTS: &str = "app entitlements";
const SKYWALK: &str = "com.apple.iokit.IOSkywalkFamily";
const KIT: &str = "com.apple.developer.driverkit";
const TASK_ALLOW: &str = "com.apple.security.get-task-allow";
const ANY_CLIENT: &str = "com.apple.developer.driverkit.allow-any-userclient-access";

/// Everything that is wrong.
pub fn lint(plists: &Plists, config: &Config, variant: Variant) -> Findings {
    let mut findings = Findings::default();
    bundle_keys(&plists.dext_info, DEXT_INFO, "DEXT", &config.dext_id(), config, &mut findings);
    bundle_keys(&plists.app_info, APP_INFO, "APPL", &config.app_id(), config, &mut findings);
    dext_info(&plists.dext_info, config, &mut findings);
    app_info(&plists.app_info, config, &mut findings);
    dext_entitlements(plists, variant, &mut findings);
    app_entitlements(plists, config, variant, &mut findings);
    if variant == Variant::Release {
        for (place, info) in [(DEXT_INFO, &plists.dext_info), (APP_INFO, &plists.app_info)] {
            findings.expect(
                !info.contains_key(CHECK_BUILD),
                "check-build",
                place,
                format!("{CHECK_BUILD} is set: a cross-built check bundle is not for release"),
            );
        }
    }
    findings
}

fn text<'a>(dictionary: &'a Dictionary, key: &str) -> &'a str {
    dictionary.get(key).and_then(Value::as_string).unwrap_or("")
}

fn is_true(dictionary: &Dictionary, key: &str) -> bool {
    dictionary.get(key).and_then(Value::as_boolean) == Some(true)
}

fn equals(findings: &mut Findings, code: &'static str, place: &str, found: (&str, &str), wanted: &str) {
    let (key, value) = found;
    findings.expect(value == wanted, code, place, format!("{key} is \"{value}\", must be \"{wanted}\""));
}

fn bundle_keys(info: &Dictionary, place: &str, package: &str, id: &str, config: &Config, findings: &mut Findings) {
    let get = |key| (key, text(info, key));
    equals(findings, "package-type", place, get("CFBundlePackageType"), package);
    equals(findings, "bundle-id", place, get("CFBundleIdentifier"), id);
    equals(findings, "info-version", place, get("CFBundleInfoDictionaryVersion"), "6.0");
    equals(findings, "version", place, get("CFBundleShortVersionString"), &config.version);
    equals(findings, "version", place, get("CFBundleVersion"), &config.build.to_string());
    findings.expect(!text(info, "CFBundleExecutable").is_empty(), "executable", place, "CFBundleExecutable is missing");
    findings.expect(!text(info, "CFBundleName").is_empty(), "bundle-name", place, "CFBundleName is missing");
}

fn dext_info(info: &Dictionary, config: &Config, findings: &mut Findings) {
    let place = DEXT_INFO;
    equals(findings, "executable", place, ("CFBundleExecutable", text(info, "CFBundleExecutable")), &config.dext_id());
    findings.expect(
        !text(info, "OSBundleUsageDescription").is_empty(),
        "usage",
        place,
        "OSBundleUsageDescription is missing: activation of a third party's driver fails without it",
    );
    let library = info.get("OSBundleLibraries").and_then(Value::as_dictionary).map_or("", |d| text(d, SKYWALK));
    findings.expect(
        version(library).is_some(),
        "libraries",
        place,
        format!("OSBundleLibraries must name {SKYWALK} with a version"),
    );
    let mut categories: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut count = 0;
    for (name, personality) in personalities(info) {
        count += 1;
        self::personality(name, personality, config, findings);
        // Two personalities that match one provider under one category: only one of them starts.
        let provider = text(personality, "IOProviderClass").to_owned();
        let category = text(personality, "IOMatchCategory").to_owned();
        if provider == "IOUserResources"
            && let Some(other) = categories.insert((provider, category.clone()), name.clone())
        {
            findings.add(
                "match-category",
                format!("{place}, {name}"),
                format!("IOMatchCategory \"{category}\" is also {other}'s: only one of them would start"),
            );
        }
    }
    findings.expect(count > 0, "personality", place, "IOKitPersonalities is missing or empty: nothing would match");
}

fn personality(name: &str, personality: &Dictionary, config: &Config, findings: &mut Findings) {
    let place = format!("{DEXT_INFO}, {name}");
    let get = |key| (key, text(personality, key));
    let network = text(personality, "IOClass") == "IOUserNetworkEthernet";
    // A helper that holds a USB device open and configures it is a plain IOUserService.
    let helper =
        text(personality, "IOClass") == "IOUserService" && text(personality, "IOProviderClass") == "IOUSBHostDevice";
    findings.expect(
        network || helper,
        "ioclass",
        &place,
        format!("IOClass is \"{}\": a NIC's is IOUserNetworkEthernet, or Start fails", text(personality, "IOClass")),
    );
    let kernel = if helper { "com.apple.kpi.iokit" } else { SKYWALK };
    equals(findings, "kernel-bundle", &place, get("CFBundleIdentifierKernel"), kernel);
    equals(findings, "personality-id", &place, get("CFBundleIdentifier"), &config.dext_id());
    equals(findings, "server-name", &place, get("IOUserServerName"), &config.dext_id());
    findings.expect(!text(personality, "IOUserClass").is_empty(), "user-class", &place, "IOUserClass is missing");
    if let Some(client) = personality.get("UserClientProperties") {
        let right = client.as_dictionary().is_some_and(|client| {
            text(client, "IOClass") == "IOUserUserClient" && !text(client, "IOUserClass").is_empty()
        });
        findings.expect(
            right,
            "user-client",
            &place,
            "UserClientProperties needs IOClass IOUserUserClient and an IOUserClass",
        );
    }
    match text(personality, "IOProviderClass") {
        "IOPCIDevice" => pci(&place, personality, findings),
        provider @ ("IOUSBHostInterface" | "IOUSBHostDevice") => {
            usb(&place, personality, provider == "IOUSBHostInterface", network, findings);
        }
        "IOUserResources" => {
            equals(findings, "virtual-match", &place, get("IOResourceMatch"), "IOKit");
            findings.expect(
                !text(personality, "IOMatchCategory").is_empty(),
                "match-category",
                &place,
                "IOMatchCategory is missing: the first driver that matches IOUserResources would keep all others out",
            );
        }
        other => findings.add(
            "provider",
            place,
            format!("IOProviderClass \"{other}\": IOPCIDevice, IOUSBHostInterface or IOUserResources"),
        ),
    }
}

/// `0xDDDDVVVV`, optionally `&0xMMMMMMMM`, separated by spaces.
fn is_pci_match(text: &str) -> bool {
    let number = |text: &str| {
        text.strip_prefix("0x").is_some_and(|hex| hex.len() == 8 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let mut words = text.split_whitespace().peekable();
    words.peek().is_some()
        && words.all(|word| match word.split_once('&') {
            Some((value, mask)) => number(value) && number(mask),
            None => number(word),
        })
}

fn pci(place: &str, personality: &Dictionary, findings: &mut Findings) {
    let keys = ["IOPCIMatch", "IOPCIPrimaryMatch", "IOPCISecondaryMatch", "IOPCIClassMatch"];
    let mut found = false;
    for key in keys {
        let Some(value) = personality.get(key) else { continue };
        found = true;
        let value = value.as_string().unwrap_or("");
        findings.expect(
            is_pci_match(value),
            "pci-match",
            place,
            format!("{key} \"{value}\": 0xDDDDVVVV, device then vendor, eight digits, optionally &0xMASK"),
        );
    }
    findings.expect(found, "pci-match", place, "no IOPCIMatch or IOPCIPrimaryMatch: it would match every PCI device");
    findings.expect(
        is_true(personality, "IOPCITunnelCompatible"),
        "pci-tunnel",
        place,
        "IOPCITunnelCompatible must be true, or the driver never sees an adapter behind Thunderbolt",
    );
}

fn usb(place: &str, personality: &Dictionary, interface: bool, network: bool, findings: &mut Findings) {
    let has = |key: &str| personality.contains_key(key);
    let number = |key: &str| personality.get(key).and_then(Value::as_unsigned_integer);
    findings.expect(
        interface || !network,
        "usb-match",
        place,
        "a NIC matches IOUSBHostInterface; completions of the whole device's pipes go astray",
    );
    for (key, limit) in [
        ("idVendor", 0xffff),
        ("idProduct", 0xffff),
        ("bcdDevice", 0xffff),
        ("bConfigurationValue", 0xff),
        ("bInterfaceNumber", 0xff),
        ("bInterfaceClass", 0xff),
        ("bInterfaceSubClass", 0xff),
        ("bInterfaceProtocol", 0xff),
    ] {
        if has(key) {
            findings.expect(
                number(key).is_some_and(|value| value <= limit),
                "usb-match",
                place,
                format!("{key} must be a number up to {limit}"),
            );
        }
    }
    if has("idVendor") {
        let product = has("idProduct") || has("idProductArray");
        let right = if interface { product && has("bConfigurationValue") && has("bInterfaceNumber") } else { product };
        findings.expect(
            right,
            "usb-match",
            place,
            "idVendor needs idProduct, bConfigurationValue and bInterfaceNumber with it, or the kernel drops it silently",
        );
    } else {
        findings.expect(
            has("bInterfaceClass") && has("bInterfaceSubClass"),
            "usb-match",
            place,
            "needs bInterfaceClass and bInterfaceSubClass (NCM 2/13, ECM 2/6, RNDIS 224/1/3 or 2/2/255), or idVendor",
        );
        findings.expect(
            !has("idProduct"),
            "usb-match",
            place,
            "idProduct without idVendor belongs to no combination of keys that USB matching knows",
        );
    }
}

fn app_info(info: &Dictionary, config: &Config, findings: &mut Findings) {
    let get = |key| (key, text(info, key));
    equals(findings, "minimum-system", APP_INFO, get("LSMinimumSystemVersion"), &config.minimum_macos);
    findings.expect(
        !text(info, "NSSystemExtensionUsageDescription").is_empty(),
        "usage",
        APP_INFO,
        "NSSystemExtensionUsageDescription is missing: the user is asked to approve without a reason",
    );
}

fn dext_entitlements(plists: &Plists, variant: Variant, findings: &mut Findings) {
    let own = &plists.dext_entitlements;
    let place = DEXT_ENTITLEMENTS;
    for key in [KIT, "com.apple.developer.driverkit.family.networking", "com.apple.security.app-sandbox"] {
        findings.expect(is_true(own, key), "entitlement", place, format!("{key} must be true"));
    }
    let wanted = transports(&plists.dext_info);
    for (key, list) in &wanted {
        let entries = own.get(key).and_then(Value::as_array);
        let Some(entries) = entries else {
            findings.add(
                "transport",
                place,
                format!("{key} is missing, or no list, and personalities match such devices"),
            );
            continue;
        };
        for need in list.as_array().into_iter().flatten() {
            let covered = entries.iter().any(|entry| covers(entry, need));
            findings.expect(covered, "transport", place, format!("{key} covers no {}", brief(need)));
        }
    }
    for bus in ["pci", "usb"] {
        let key = format!("com.apple.developer.driverkit.transport.{bus}");
        if own.contains_key(&key) && !wanted.iter().any(|(name, _)| *name == key) {
            findings.add(
                "transport",
                place,
                format!("{key} is asked for and no personality needs it: the portal refuses"),
            );
        }
    }
    variant_keys(own, place, variant, findings);
    findings.expect(
        variant == Variant::Development || !own.contains_key(ANY_CLIENT),
        "any-client",
        place,
        format!("{ANY_CLIENT} is for development: in a release only named apps may open the driver"),
    );
}

/// Does an entitlement's entry allow what a personality matches? Every key that it has must say the same; PCI values
/// also under their mask.
fn covers(entry: &Value, need: &Value) -> bool {
    let (Some(entry), Some(need)) = (entry.as_dictionary(), need.as_dictionary()) else { return false };
    entry.iter().all(|(key, allowed)| match (allowed, need.get(key)) {
        (Value::String(allowed), Some(Value::String(wanted))) => {
            wanted.split_whitespace().all(|one| allowed.split_whitespace().any(|mask| pci_covers(mask, one)))
        }
        (allowed, Some(wanted)) => allowed == wanted,
        (_, None) => false,
    })
}

fn pci_covers(allowed: &str, wanted: &str) -> bool {
    let parse = |text: &str| {
        let (value, mask) = text.split_once('&').unwrap_or((text, "0xffffffff"));
        let hex = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        Some((hex(value)?, hex(mask)?))
    };
    match (parse(allowed), parse(wanted)) {
        (Some((value, mask)), Some((other, narrower))) => narrower & mask == mask && other & mask == value & mask,
        _ => allowed == wanted,
    }
}

fn brief(value: &Value) -> String {
    let items: Vec<String> = value
        .as_dictionary()
        .into_iter()
        .flatten()
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key} {text}"),
            Value::Integer(number) => format!("{key} {number}"),
            _ => key.clone(),
        })
        .collect();
    items.join(", ")
}

fn variant_keys(own: &Dictionary, place: &str, variant: Variant, findings: &mut Findings) {
    let debuggable = is_true(own, TASK_ALLOW);
    match variant {
        Variant::Development => findings.expect(
            debuggable,
            "task-allow",
            place,
            format!("{TASK_ALLOW} must be true, or lldb cannot attach"),
        ),
        Variant::Release => findings.expect(
            !own.contains_key(TASK_ALLOW),
            "task-allow",
            place,
            format!("{TASK_ALLOW} is for development: notarisation refuses it"),
        ),
    }
}

fn app_entitlements(plists: &Plists, config: &Config, variant: Variant, findings: &mut Findings) {
    let own = &plists.app_entitlements;
    let place = APP_ENTITLEMENTS;
    let install = "com.apple.developer.system-extension.install";
    findings.expect(
        is_true(own, install),
        "entitlement",
        place,
        format!("{install} must be true to activate the dext"),
    );
    let key = "com.apple.developer.driverkit.userclient-access";
    let dext = config.dext_id();
    let listed = own.get(key).and_then(Value::as_array).into_iter().flatten().any(|id| id.as_string() == Some(&dext));
    findings.expect(listed, "client-access", place, format!("{key} must list {dext}, or the app cannot open it"));
    findings.expect(
        is_true(own, "dev.weir.control"),
        "control",
        place,
        "dev.weir.control must be true, or the app may read from the driver but not change it",
    );
    variant_keys(own, place, variant, findings);
}
