//! Defects of plists and entitlements, planted in what the templates give. No linker is needed.

use plist::{Dictionary, Value};

use super::config;
use crate::bundle::config::Variant;
use crate::bundle::lint::lint;
use crate::bundle::template::{self, CHECK_BUILD, Plists};

fn plists(variant: Variant) -> Plists {
    template::plists(&config(), variant).expect("templates")
}

fn codes(plists: &Plists, variant: Variant) -> Vec<&'static str> {
    let mut codes: Vec<&'static str> = lint(plists, &config(), variant).0.iter().map(|finding| finding.code).collect();
    codes.dedup();
    codes
}

fn personality<'a>(plists: &'a mut Plists, name: &str) -> &'a mut Dictionary {
    let all = plists.dext_info.get_mut("IOKitPersonalities").and_then(Value::as_dictionary_mut).expect("personalities");
    all.get_mut(name).and_then(Value::as_dictionary_mut).expect("personality")
}

fn reflect(plists: &mut Plists) -> &mut Dictionary {
    personality(plists, "WeirReflect")
}

/// Makes the first personality one for hardware, and allows it.
fn device(plists: &mut Plists, provider: &str, keys: &[(&str, Value)]) {
    let one = reflect(plists);
    one.remove("IOResourceMatch");
    one.insert("IOProviderClass".into(), provider.into());
    for (key, value) in keys {
        one.insert((*key).to_owned(), value.clone());
    }
    for (key, value) in template::transports(&plists.dext_info) {
        plists.dext_entitlements.insert(key, value);
    }
}

fn pci(plists: &mut Plists, keys: &[(&str, Value)]) {
    let mut all = vec![("IOPCITunnelCompatible", Value::Boolean(true)), ("IOPCIPrimaryMatch", "0x10d38086".into())];
    all.extend_from_slice(keys);
    device(plists, "IOPCIDevice", &all);
}

fn number(value: u64) -> Value {
    Value::Integer(value.into())
}

#[test]
fn the_templates_are_right() {
    for variant in [Variant::Development, Variant::Release] {
        assert_eq!(codes(&plists(variant), variant), [""; 0], "{variant:?}");
        let mut with_pci = plists(variant);
        pci(&mut with_pci, &[]);
        assert_eq!(codes(&with_pci, variant), [""; 0]);
        let mut with_usb = plists(variant);
        device(
            &mut with_usb,
            "IOUSBHostInterface",
            &[("bInterfaceClass", number(2)), ("bInterfaceSubClass", number(13))],
        );
        assert_eq!(codes(&with_usb, variant), [""; 0]);
    }
}

#[test]
fn a_mask_in_the_entitlement_covers_what_matches_under_it() {
    let key = "com.apple.developer.driverkit.transport.pci";
    for (allowed, right) in
        [("0x00008086&0x0000ffff", true), ("0x10d38086", true), ("0x000010ec&0x0000ffff", false), ("0x10d48086", false)]
    {
        let mut plists = plists(Variant::Development);
        // Only the one below is to be covered.
        if let Some(Value::Dictionary(all)) = plists.dext_info.get_mut("IOKitPersonalities") {
            all.retain(|_, one| {
                let provider = one.as_dictionary().and_then(|one| one.get("IOProviderClass"));
                provider.and_then(Value::as_string) != Some("IOPCIDevice")
            });
        }
        pci(&mut plists, &[]);
        let mut entry = Dictionary::new();
        entry.insert("IOPCIPrimaryMatch".into(), allowed.into());
        plists.dext_entitlements.insert(key.into(), Value::Array(vec![Value::Dictionary(entry)]));
        assert_eq!(codes(&plists, Variant::Development).is_empty(), right, "{allowed}");
    }
}

type Change = fn(&mut Plists);

#[test]
fn each_defect_is_found() {
    let development: &[(&str, Change)] = &[
        ("package-type", |p| drop(p.dext_info.insert("CFBundlePackageType".into(), "KEXT".into()))),
        ("bundle-id", |p| drop(p.dext_info.insert("CFBundleIdentifier".into(), "dev.other.driver".into()))),
        ("info-version", |p| drop(p.dext_info.remove("CFBundleInfoDictionaryVersion"))),
        ("version", |p| drop(p.app_info.insert("CFBundleShortVersionString".into(), "0.0.9".into()))),
        ("version", |p| drop(p.dext_info.insert("CFBundleVersion".into(), "77".into()))),
        ("executable", |p| drop(p.dext_info.insert("CFBundleExecutable".into(), "driver".into()))),
        ("executable", |p| drop(p.app_info.remove("CFBundleExecutable"))),
        ("bundle-name", |p| drop(p.app_info.remove("CFBundleName"))),
        ("usage", |p| drop(p.dext_info.remove("OSBundleUsageDescription"))),
        ("usage", |p| drop(p.app_info.remove("NSSystemExtensionUsageDescription"))),
        ("libraries", |p| drop(p.dext_info.remove("OSBundleLibraries"))),
        ("personality", |p| drop(p.dext_info.remove("IOKitPersonalities"))),
        ("ioclass", |p| drop(reflect(p).insert("IOClass".into(), "IOUserService".into()))),
        ("kernel-bundle", |p| drop(reflect(p).insert("CFBundleIdentifierKernel".into(), "com.apple.kpi.iokit".into()))),
        ("personality-id", |p| drop(reflect(p).remove("CFBundleIdentifier"))),
        ("server-name", |p| drop(reflect(p).insert("IOUserServerName".into(), "weir".into()))),
        ("user-class", |p| drop(reflect(p).remove("IOUserClass"))),
        ("user-client", |p| {
            let client = reflect(p).get_mut("UserClientProperties").and_then(Value::as_dictionary_mut).expect("client");
            client.insert("IOClass".into(), "IOUserClient".into());
        }),
        ("provider", |p| drop(reflect(p).insert("IOProviderClass".into(), "IOEthernetInterface".into()))),
        ("virtual-match", |p| drop(reflect(p).remove("IOResourceMatch"))),
        ("match-category", |p| drop(reflect(p).remove("IOMatchCategory"))),
        ("match-category", |p| drop(reflect(p).insert("IOMatchCategory".into(), "dev.weir.driver.client".into()))),
        ("pci-match", |p| pci(p, &[("IOPCIPrimaryMatch", "0x8086".into())])),
        ("pci-match", |p| pci(p, &[("IOPCIPrimaryMatch", "10d38086".into())])),
        ("pci-match", |p| device(p, "IOPCIDevice", &[("IOPCITunnelCompatible", Value::Boolean(true))])),
        ("pci-tunnel", |p| device(p, "IOPCIDevice", &[("IOPCIMatch", "0x10d38086".into())])),
        ("usb-match", |p| {
            device(p, "IOUSBHostInterface", &[("idVendor", number(0x0b95)), ("idProduct", number(0x1790))])
        }),
        ("usb-match", |p| device(p, "IOUSBHostInterface", &[("bInterfaceClass", number(2))])),
        ("usb-match", |p| {
            let keys = [("bInterfaceClass", number(2)), ("bInterfaceSubClass", number(13)), ("idProduct", number(1))];
            device(p, "IOUSBHostInterface", &keys);
        }),
        ("usb-match", |p| {
            device(p, "IOUSBHostInterface", &[("bInterfaceClass", number(2)), ("bInterfaceSubClass", number(300))]);
        }),
        ("usb-match", |p| {
            device(p, "IOUSBHostDevice", &[("bInterfaceClass", number(2)), ("bInterfaceSubClass", number(13))]);
        }),
        ("transport", |p| {
            pci(p, &[]);
            p.dext_entitlements.remove("com.apple.developer.driverkit.transport.pci");
        }),
        ("transport", |p| {
            pci(p, &[]);
            reflect(p).insert("IOPCIPrimaryMatch".into(), "0x15218086".into());
        }),
        ("transport", |p| {
            // A bus that no personality of the template uses any more.
            let all = p.dext_info.get_mut("IOKitPersonalities").and_then(Value::as_dictionary_mut).expect("all");
            all.retain(|_, one| {
                one.as_dictionary().and_then(|one| one.get("IOProviderClass")?.as_string()) == Some("IOUserResources")
            });
            let list = Value::Array(vec![Value::Dictionary(Dictionary::new())]);
            p.dext_entitlements.insert("com.apple.developer.driverkit.transport.usb".into(), list);
        }),
        ("entitlement", |p| drop(p.dext_entitlements.remove("com.apple.developer.driverkit"))),
        ("entitlement", |p| drop(p.dext_entitlements.remove("com.apple.developer.driverkit.family.networking"))),
        ("entitlement", |p| drop(p.dext_entitlements.remove("com.apple.security.app-sandbox"))),
        ("entitlement", |p| drop(p.app_entitlements.remove("com.apple.developer.system-extension.install"))),
        ("client-access", |p| drop(p.app_entitlements.remove("com.apple.developer.driverkit.userclient-access"))),
        ("control", |p| drop(p.app_entitlements.remove("dev.weir.control"))),
        ("task-allow", |p| drop(p.app_entitlements.remove("com.apple.security.get-task-allow"))),
        ("minimum-system", |p| drop(p.app_info.insert("LSMinimumSystemVersion".into(), "10.15".into()))),
    ];
    for (code, change) in development {
        let mut plists = plists(Variant::Development);
        change(&mut plists);
        let found = codes(&plists, Variant::Development);
        assert!(found.contains(code), "{code} was planted, found {found:?}");
    }
    let release: &[(&str, Change)] = &[
        ("task-allow", |p| {
            drop(p.dext_entitlements.insert("com.apple.security.get-task-allow".into(), Value::Boolean(true)));
        }),
        ("any-client", |p| {
            let key = "com.apple.developer.driverkit.allow-any-userclient-access";
            drop(p.dext_entitlements.insert(key.into(), Value::Boolean(true)));
        }),
        ("check-build", |p| drop(p.dext_info.insert(CHECK_BUILD.into(), "yes".into()))),
    ];
    for (code, change) in release {
        let mut plists = plists(Variant::Release);
        change(&mut plists);
        let found = codes(&plists, Variant::Release);
        assert!(found.contains(code), "{code} was planted, found {found:?}");
    }
}

#[test]
fn templates_with_unknown_variables_are_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("x.plist");
    for (text, right) in [("$(DEXT_ID)", true), ("$(NOBODY)", false), ("$(DEXT_ID", false)] {
        let plist = format!(
            "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>a</key><string>{text}</string></dict></plist>"
        );
        std::fs::write(&path, plist).expect("write");
        assert_eq!(template::read(&path, &config()).is_ok(), right, "{text}");
    }
}
