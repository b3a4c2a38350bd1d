//! Checks of programs (ELF-64, `elf(5)`).

use anyhow::{Context, Result, bail};
use image_swap_testbed::oci::Platform;

/// A program header that names an interpreter: `ld.so`, which the image lacks.
const INTERPRETER: u32 = 3;
/// A section with the symbols of the linker, which `strip` removes.
const SYMBOLS: u32 = 2;
/// Processors by their names in Go, with `e_machine` of each.
const PROCESSORS: [(&str, u16); 3] = [("amd64", 62), ("arm64", 183), ("riscv64", 243)];

/// Checks that `program` runs in an image for `platform` that has no shared libraries.
///
/// # Errors
/// The file is another one. The error has the remedy.
pub(super) fn check(program: &[u8], platform: &Platform) -> Result<()> {
    let expected = machine(&platform.architecture);
    let found = field(program, 18)
        .filter(|_| program.starts_with(b"\x7fELF\x02\x01"))
        .context("expected a program for Linux (ELF, 64 bits, little-endian)")?;
    if expected.is_none_or(|expected| expected != found) {
        let found = PROCESSORS
            .iter()
            .find(|(_, number)| *number == found)
            .map_or_else(|| format!("the ELF machine {found}"), |(name, _)| (*name).to_owned());
        bail!("expected a program for {platform}, found one for {found}");
    }
    if interpreted(program).context("expected whole program headers, found fewer bytes")? {
        bail!(
            "expected a program without shared libraries, found one that needs some; link it \
             statically (`-C target-feature=+crt-static`)"
        );
    }
    Ok(())
}

/// Returns `e_machine` of a processor that has a name of Go.
fn machine(architecture: &str) -> Option<u16> {
    let mut processors = PROCESSORS.iter();
    processors.find(|(name, _)| *name == architecture).map(|(_, number)| *number)
}

/// Returns `true` if `program` has a symbol table, and `None` if its headers are cut off.
pub(crate) fn has_symbols(program: &[u8]) -> Option<bool> {
    has_header(program, [40, 58, 60], 4, SYMBOLS)
}

fn interpreted(program: &[u8]) -> Option<bool> {
    has_header(program, [32, 54, 56], 0, INTERPRETER)
}

/// Returns `true` if a header of a table has `kind` at `offset`. `table` has the places of
/// the table's own place, of the size of a header, and of their number.
fn has_header(program: &[u8], table: [usize; 3], offset: usize, kind: u32) -> Option<bool> {
    let start = usize::try_from(u64::from_le_bytes(bytes(program, table[0])?)).ok()?;
    let (size, count) = (usize::from(field(program, table[1])?), field(program, table[2])?);
    for n in 0..usize::from(count) {
        let at = start.checked_add(n.checked_mul(size)?)?.checked_add(offset)?;
        if u32::from_le_bytes(bytes(program, at)?) == kind {
            return Some(true);
        }
    }
    Some(false)
}

fn field(program: &[u8], at: usize) -> Option<u16> {
    bytes(program, at).map(u16::from_le_bytes)
}

fn bytes<const N: usize>(program: &[u8], at: usize) -> Option<[u8; N]> {
    program.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the headers of a program with one program header of type `kind`.
    pub(in crate::image) fn program(machine: u16, kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn static_program_of_the_platform_is_accepted() {
        check(&program(62, 1), &"linux/amd64".parse().unwrap()).unwrap();
        check(&program(183, 1), &"linux/arm64".parse().unwrap()).unwrap();
        assert_eq!(has_symbols(&program(62, 1)), Some(false));
    }

    #[test]
    fn other_program_is_refused_with_the_reason() {
        let amd64 = "linux/amd64".parse().unwrap();
        let error = |program: &[u8]| check(program, &amd64).unwrap_err().to_string();
        assert!(error(b"#!/bin/sh\n").contains("expected a program for Linux"));
        assert!(error(&program(183, 1)).contains("found one for arm64"));
        assert!(error(&program(62, 3)).contains("found one that needs some"));
        assert!(error(&program(62, 1)[..66]).contains("whole program headers"));
    }

    #[test]
    fn program_of_this_test_is_refused() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(has_symbols(&own), Some(true));
        let error = check(&own, &Platform::here()).unwrap_err().to_string();
        assert!(error.contains("found one that needs some"), "{error}");
    }
}
