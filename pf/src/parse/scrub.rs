//! Normalisation: the options of `scrub` rules and of `scrub (...)`.

use super::{Parser, Res};
use crate::ast::{FragmentPolicy, ScrubOptions};
use crate::lex::Tok;

/// Scrub options, for suggestions.
pub const SCRUB_OPTIONS: &[&str] = &["no-df", "random-id", "min-ttl", "max-mss", "set-tos", "reassemble", "fragment"];

impl Parser<'_> {
    /// Reads one scrub option; false if the token does not begin one.
    pub(super) fn scrub_option(&mut self, s: &mut ScrubOptions) -> Res<bool> {
        let start = self.tok.span;
        let Tok::Word(word) = self.tok.tok.clone() else {
            return Ok(false);
        };
        let again = match &*word {
            "no-df" => s.no_df,
            "random-id" => s.random_id,
            "min-ttl" => s.min_ttl.is_some(),
            "max-mss" => s.max_mss.is_some(),
            "set-tos" => s.set_tos.is_some(),
            "reassemble" => s.reassemble_tcp,
            "fragment" => s.fragment.is_some(),
            _ => return Ok(false),
        };
        if again {
            self.error_here(format!("{word} cannot be respecified"));
        }
        s.span = s.span.or(Some(start));
        self.bump();
        match &*word {
            "no-df" => s.no_df = true,
            "random-id" => s.random_id = true,
            "min-ttl" => s.min_ttl = Some(self.number("a time to live", 0, 255)?.node as u8),
            "max-mss" => s.max_mss = Some(self.number("a maximum segment size", 0, 65535)?.node as u16),
            "set-tos" => s.set_tos = Some(self.tos()?),
            "reassemble" => {
                let what = self.string("`tcp` after `reassemble`")?;
                if !what.node.eq_ignore_ascii_case("tcp") {
                    self.sink.error(what.span, format!("scrub reassemble supports only tcp, not `{}`", what.node));
                }
                s.reassemble_tcp = true;
            }
            _ => s.fragment = Some(self.fragment_policy()?),
        }
        Ok(true)
    }

    fn fragment_policy(&mut self) -> Res<FragmentPolicy> {
        if self.take("reassemble") {
            return Ok(FragmentPolicy::Reassemble);
        }
        if self.take("no") {
            self.want("reassemble", "after `fragment no`")?;
            return Ok(FragmentPolicy::NoReassemble);
        }
        match self.tok.string().map(|t| t.to_string()).as_deref() {
            Some("crop") => {
                self.bump();
                Ok(FragmentPolicy::Crop)
            }
            Some("drop-ovl") => {
                self.bump();
                Ok(FragmentPolicy::DropOverlap)
            }
            _ => Err(self.expected(
                "`reassemble`, `no reassemble`, `crop` or `drop-ovl` after `fragment`",
                &["reassemble", "no", "crop", "drop-ovl"],
            )),
        }
    }
}
