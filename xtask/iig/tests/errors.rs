//! What is refused, and where the error points.

use std::path::Path;
use weir_iig::{Diagnostic, Generator};

/// Generates `body` inside a class that derives from IOService; the class starts in line 4.
fn errors_in_class(body: &str) -> Vec<Diagnostic> {
    errors(&format!(
        "#include <DriverKit/IOService.iig>\n#include <DriverKit/IOTimerDispatchSource.iig>\n\nclass Thing : public IOService\n{{\n{body}\n}};\n"
    ))
}

fn errors(text: &str) -> Vec<Diagnostic> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("Thing.iig");
    std::fs::write(&path, text).expect("write");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/include");
    Generator::new([include]).user(&path).err().map(|errors| errors.0).unwrap_or_default()
}

#[track_caller]
fn expect(found: &[Diagnostic], line: usize, column: usize, token: &str, message: &str, hint: &str) {
    let [error] = found else { panic!("one error expected: {found:#?}") };
    assert_eq!((error.line, error.column, error.token.as_str()), (line, column, token), "{error}");
    assert!(error.message.contains(message), "{:?} does not contain {message:?}", error.message);
    assert!(error.hint.contains(hint), "{:?} does not contain {hint:?}", error.hint);
}

/// What a dispatched method cannot be; one that it can be is no error (tests/compile.rs builds such).
#[test]
fn new_dispatched_methods() {
    let found = errors_in_class("    virtual uint64_t\n    Peek(uint32_t offset);");
    expect(&found, 7, 5, "Peek", "returns uint64_t", "add LOCALONLY");
    expect(&errors_in_class("\tvirtual void Poke(int & value) LOCAL;"), 6, 15, "Poke", "takes `int &`", "LOCALONLY");
    expect(&errors_in_class("void Say(const char * f, ...);"), 6, 6, "Say", "takes `...`", "LOCALONLY");
    assert_eq!(
        errors_in_class("virtual kern_return_t Poke(uint32_t value);\nvirtual uint32_t Peek();\nvoid Stir();"),
        []
    );
}

#[test]
fn queue_names() {
    let text = "virtual kern_return_t Help(IOService * provider) LOCALONLY QUEUENAME(Mine);";
    expect(&errors_in_class(text), 6, 60, "QUEUENAME", "runs wherever it is called", "remove QUEUENAME");
}

#[test]
fn override_of_nothing() {
    expect(
        &errors_in_class("virtual kern_return_t Strat(IOService * provider) override;"),
        6,
        23,
        "Strat",
        "overrides nothing",
        "IOService::Start",
    );
}

#[test]
fn override_with_other_parameters() {
    let text = "virtual kern_return_t Start(IOService * provider, int more) override;";
    expect(&errors_in_class(text), 6, 23, "Start", "other parameters", "Start(IOService * provider)");
}

#[test]
fn localonly_on_a_dispatched_method() {
    let text = "virtual kern_return_t Start(IOService * provider) override LOCALONLY;";
    expect(&errors_in_class(text), 6, 23, "Start", "LOCALONLY here, but `IOService` dispatches it", "remove LOCALONLY");
}

#[test]
fn unknown_annotation() {
    expect(
        &errors_in_class("void helper() LOCALONY;"),
        6,
        15,
        "LOCALONY",
        "unknown annotation",
        "did you mean `LOCALONLY`?",
    );
}

#[test]
fn body_and_annotation() {
    expect(
        &errors_in_class("int helper() LOCALONLY { return 1; }"),
        6,
        14,
        "LOCALONLY",
        "has a body",
        "define it in the .cpp",
    );
}

#[test]
fn missing_result() {
    expect(&errors_in_class("virtual helper() LOCALONLY;"), 6, 9, "helper", "no result type", "kern_return_t");
}

#[test]
fn callbacks() {
    let timer = "TYPE(IOTimerDispatchSource::";
    expect(
        &errors_in_class(&format!("virtual void T(OSAction * a) {timer}TimerOccurred);")),
        6,
        14,
        "T",
        "has 1 parameters",
        "void T(OSAction * action, uint64_t time)",
    );
    expect(
        &errors_in_class(&format!("virtual kern_return_t T(OSAction * a, uint64_t t) {timer}TimerOccurred);")),
        6,
        23,
        "T",
        "returns kern_return_t",
        "callbacks return void",
    );
    expect(
        &errors_in_class(&format!("virtual void T(OSAction * a, uint64_t t) {timer}TimerOccured);")),
        6,
        42,
        "TYPE",
        "does not exist",
        "IOTimerDispatchSource` has TimerOccurred",
    );
    expect(
        &errors_in_class(&format!("virtual void T(OSAction * a, uint64_t t) {timer}WakeAtTime);")),
        6,
        42,
        "TYPE",
        "is not an action callback",
        "TimerOccurred",
    );
    expect(
        &errors_in_class("virtual void T(OSAction * a, uint64_t t) TYPE(IOUSBHostPipe::CompleteAsyncIO);"),
        6,
        42,
        "TYPE",
        "class `IOUSBHostPipe` of TYPE is not declared",
        "include the .iig",
    );
}

#[test]
fn unknown_base_class() {
    expect(
        &errors("\nclass Thing : public IOServce { };\n"),
        2,
        22,
        "IOServce",
        "base class of `Thing`",
        "include the .iig",
    );
}

#[test]
fn missing_definition() {
    let found =
        errors("#include <HIDDriverKit/IOUserHIDDevice.iig>\nclass T : public IOHIDThing { void x() LOCALONLY; };\n");
    expect(&found, 1, 11, "HIDDriverKit/IOUserHIDDevice.iig", "not in the include path", "NetworkingDriverKit");
}

#[test]
fn broken_text() {
    expect(&errors("/* never ends\n"), 1, 1, "/*", "comment does not end", "*/");
    expect(&errors("class X {\n  void f(;\n};\n"), 3, 1, "}", "does not match the `(` of line 2", "");
    expect(&errors("class X {\n"), 1, 9, "{", "is not closed", "");
    expect(&errors("int a;\n}\n"), 2, 1, "}", "closes nothing", "");
    expect(&errors("const char * a = \"x;\n"), 1, 18, "\"", "literal does not end", "close the quote");
    expect(&errors("#if 1\nint a;\n"), 1, 1, "#", "conditional group does not end", "#endif");
}

#[test]
fn every_error_of_a_file_is_reported() {
    let found =
        errors_in_class("float a();\nvirtual kern_return_t Start(IOService *) override;\nvoid b() LOKAL;\nfloat c();");
    assert_eq!(found.iter().map(|error| error.line).collect::<Vec<_>>(), [6, 8, 9], "{found:#?}");
}

#[test]
fn columns_count_characters() {
    expect(&errors_in_class("/* déjà vu */ float a();"), 6, 21, "a", "dispatched method", "");
}

#[test]
fn errors_print_as_a_compiler_prints_them() {
    let found = errors_in_class("float a();");
    let text = found.first().map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("Thing.iig:6:7: dispatched method `a` returns float"), "{text}");
    assert!(text.contains("\n    hint: dispatched methods return"), "{text}");
}

/// What a definition may contain besides methods; none of it may disturb the generator.
#[test]
fn plain_members_pass() {
    let body = r#"
#pragma mark life
    enum Mode : uint8_t { A, B = (1 << 2) };
    typedef void (*Hook)(Thing * thing, int);
    using Table = int[4];
    struct Inner { struct Deep { int x; } deep; void f(); int y = 1; };
    union { int i; float f; } both;
    static_assert(sizeof(int) == 4, "a string with ) and { in it");
    friend class Other;
    template <class T, int N = 3> T pick(T (&array)[N]) { return array[0]; }
    Hook hook = nullptr;
    void (^block)(void);
    void (*pointer)(int a, int b);
    int a = 1, b{2}, c[3];
    struct Inner * inner;
    [[maybe_unused]] static constexpr const char * kName = "x;y";
    __attribute__((aligned(8))) uint64_t wide;
    std::pair<int, int> pair{1, 2};
    int bits : 3;
    bool operator==(const Thing & other) const { return this == &other; }
    int sum() const { int s = 0; for (int i : c) { s += i; } return s; }
    virtual void modes(Mode mode, Table table, const Inner::Deep & deep) const LOCALONLY;
    virtual kern_return_t defaults(int x = (1, 2), const char * text = ",)", void (^done)(void) = nullptr) LOCALONLY;
    static Inner * make(unsigned int, const char *, void (*callback)(int, int)) LOCALONLY;
    void printf_like(const char * format, ...) LOCALONLY __attribute__((format(printf, 2, 3)));
    API_AVAILABLE(driverkit(21.0)) uint64_t available() LOCALONLY;
    virtual bool init(void) override;
    virtual void free() override final;
"#;
    assert_eq!(errors_in_class(body), []);
}

#[test]
fn conditions_select_members() {
    let body = r"
#define LEVEL 3
#if defined(KERNEL) || !defined(LEVEL)
    void kernel();
#elif LEVEL >= 2 && (LEVEL << 1) == 6 && !UNKNOWN
    void chosen() LOCALONLY;
#else
    void other();
#endif
#ifdef NOT_DEFINED
    } this does not even parse (
#endif
";
    assert_eq!(errors_in_class(body), []);
}

/// Definitions with pieces cut out, doubled or swapped end in an error or in output, never in a panic or a hang.
#[test]
fn mutilated_definitions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = [
        root.join("host/tests/fixtures/mirror_nic/MirrorNIC.iig"),
        root.join("host/include/DriverKit/IOUserClient.iig"),
        root.join("xtask/iig/tests/golden/Clock.iig"),
    ];
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("Mutated.iig");
    let generator = Generator::new([root.join("host/include")]);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("read");
        let pieces: Vec<&str> = text.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
        for seed in 0..300_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |bound: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % bound
            };
            let mut mutated: Vec<&str> = pieces.clone();
            for _ in 0..1 + next(6) {
                let (a, b) = (next(mutated.len()), next(mutated.len()));
                match next(4) {
                    0 => drop(mutated.remove(a)),
                    1 => mutated.insert(a, pieces[b % pieces.len()]),
                    2 => mutated.swap(a, b),
                    _ => mutated.truncate(a.max(1)),
                }
            }
            std::fs::write(&path, mutated.concat()).expect("write");
            let outcome = std::panic::catch_unwind(|| {
                let _ = generator.user(&path);
                let _ = generator.framework(&path);
            });
            assert!(outcome.is_ok(), "panic with seed {seed} of {}", file.display());
        }
    }
}
