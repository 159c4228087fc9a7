fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dext = weir_iig::Dext { src_dirs: vec![args[1].clone().into()], include_dirs: vec!["host/include".into()], out: args[2].clone().into(), work_dir: args.get(3).map(Into::into), ..Default::default() };
    if let Err(e) = weir_iig::build_dext(&dext) { eprintln!("{e}"); std::process::exit(1); }
}
