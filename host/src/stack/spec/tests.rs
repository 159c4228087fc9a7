use super::*;

#[test]
fn stacks_as_documented() {
    assert_eq!(
        "tap:x0".parse(),
        Ok(StackSpec::Tap(TapSpec { name: "x0".into(), queues: None, persist: false, netns: None, mtu: None }))
    );
    assert_eq!(
        "tap:weir0,queues=4,persist,netns=left,mtu=9000".parse(),
        Ok(StackSpec::Tap(TapSpec {
            name: "weir0".into(),
            queues: Some(4),
            persist: true,
            netns: Some("left".into()),
            mtu: Some(9000)
        }))
    );
    let Ok(StackSpec::Tap(spec)) = "tap:x0,netns=/proc/7/ns/net".parse() else { panic!("an absolute path") };
    assert_eq!(spec.netns.as_deref(), Some("/proc/7/ns/net"));
    assert_eq!(
        "smoltcp:10.0.0.2/24,fd00::2/64,gw=10.0.0.1,gw=fd00::1".parse(),
        Ok(StackSpec::Smoltcp(SmoltcpSpec {
            addresses: vec![("10.0.0.2".parse().unwrap(), 24), ("fd00::2".parse().unwrap(), 64)],
            gateways: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        }))
    );
    let pcap = |input: Option<&str>, output: Option<&str>, fast| PcapSpec {
        input: input.map(Into::into),
        output: output.map(Into::into),
        fast,
    };
    assert_eq!("pcap:a.pcap".parse(), Ok(StackSpec::Pcap(pcap(Some("a.pcap"), None, false))));
    assert_eq!(
        r"pcap:odd\,na=me.pcap,out=b.pcapng,fast".parse(),
        Ok(StackSpec::Pcap(pcap(Some("odd,na=me.pcap"), Some("b.pcapng"), true)))
    );
    assert_eq!("pcap:out=b.pcapng".parse(), Ok(StackSpec::Pcap(pcap(None, Some("b.pcapng"), false))));
    assert_eq!(r"pcap:C:\x.pcap".parse(), Ok(StackSpec::Pcap(pcap(Some(r"C:\x.pcap"), None, false))));
}

#[test]
fn wires_as_documented() {
    assert_eq!("none".parse(), Ok(WireSpec::None));
    assert_eq!("reflect".parse(), Ok(WireSpec::Reflect));
    assert_eq!("pair:cable1".parse(), Ok(WireSpec::Pair("cable1".into())));
    assert_eq!("packet:eth0".parse(), Ok(WireSpec::Packet { name: "eth0".into(), netns: None }));
    assert_eq!(
        "packet:eth0,netns=right".parse(),
        Ok(WireSpec::Packet { name: "eth0".into(), netns: Some("right".into()) })
    );
}

#[test]
fn errors_say_where_what_and_what_would_be_right() {
    let stacks = [
        ("", 0, "unknown kind of stack"),
        ("tun:x", 0, "unknown kind of stack"),
        ("tap", 0, "the argument after the colon is missing"),
        ("tap:", 4, "the argument after the colon is missing"),
        ("tap:name-with-17-byt", 4, "not an interface name"),
        ("tap:a/b", 4, "not an interface name"),
        ("tap:..", 4, "not an interface name"),
        ("tap:x0,queus=2", 7, "unknown option"),
        ("tap:x0,queues", 7, "the option needs a value"),
        ("tap:x0,queues=", 7, "the option needs a value"),
        ("tap:x0,queues=0", 7, "the number is out of range"),
        ("tap:x0,queues=9", 7, "the number is out of range"),
        ("tap:x0,queues=two", 7, "the number is out of range"),
        ("tap:x0,persist,mtu=67", 15, "the number is out of range"),
        ("tap:x0,persist=1", 7, "the option takes no value"),
        ("tap:x0,netns=../x", 7, "not a namespace name"),
        ("smoltcp:", 8, "the argument after the colon is missing"),
        ("smoltcp:10.0.0.2", 8, "the prefix length is missing"),
        ("smoltcp:10.0.0.2/33", 8, "not a prefix length"),
        ("smoltcp:10.0.0/24", 8, "not an address"),
        ("smoltcp:224.0.0.1/24", 8, "not an address a host can have"),
        ("smoltcp:10.0.0.2/24,gw=", 20, "the option needs a value"),
        ("smoltcp:10.0.0.2/24,gw=10.0.0.1,gw=10.0.0.3", 32, "a second router of one family"),
        ("smoltcp:10.0.0.2/24,mtu=1500", 20, "unknown option"),
        ("pcap:", 0, "unknown option"),
        ("pcap:a,slow", 7, "unknown option"),
        ("pcap:a,out=", 7, "the option needs a value"),
    ];
    for (spec, at, what) in stacks {
        let error = spec.parse::<StackSpec>().expect_err(spec);
        // `pcap:` names its empty word, which stands after the colon.
        let at = if spec == "pcap:" { 5 } else { at };
        assert_eq!((error.at, error.what.as_str()), (at, what), "{spec}: {error}");
        assert!(!error.hint.is_empty());
        assert!(error.to_string().contains(&format!("column {}", at + 1)));
    }
    for (spec, at) in [("wire", 0), ("none:x", 5), ("pair:", 5), ("packet:", 7), ("packet:e,x", 9), ("pcap", 0)] {
        let error = spec.parse::<WireSpec>().expect_err(spec);
        assert_eq!(error.at, at, "{spec}: {error}");
    }
}
