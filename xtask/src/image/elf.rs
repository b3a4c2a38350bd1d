//! Programs, as far as an image depends on what they are (ELF-64, `elf(5)`).

use anyhow::{Context, Result, bail};
use image_swap_oci::Platform;

/// A program header that names an interpreter: `ld.so`, which the image lacks.
const INTERPRETER: u32 = 3;

/// Whether `program` runs in an image for `platform` that holds nothing else.
///
/// # Errors
/// What it is instead, and what to do.
pub(super) fn check(program: &[u8], platform: &Platform) -> Result<()> {
    let expected = machine(&platform.architecture);
    let found = field(program, 18)
        .filter(|_| program.starts_with(b"\x7fELF\x02\x01"))
        .context("expected a program for Linux (ELF, 64 bits, little-endian)")?;
    if expected.is_none_or(|expected| expected != found) {
        bail!("expected a program for {platform}, found one for the ELF machine {found}");
    }
    if interpreted(program).context("expected whole program headers, found fewer bytes")? {
        bail!(
            "expected a program without shared libraries, found one that needs some; link it \
             statically (`-C target-feature=+crt-static`)"
        );
    }
    Ok(())
}

/// `e_machine` of a processor in Go's names.
fn machine(architecture: &str) -> Option<u16> {
    match architecture {
        "amd64" => Some(62),
        "arm64" => Some(183),
        "riscv64" => Some(243),
        _ => None,
    }
}

fn interpreted(program: &[u8]) -> Option<bool> {
    let start = usize::try_from(u64::from_le_bytes(bytes(program, 32)?)).ok()?;
    let (size, count) = (usize::from(field(program, 54)?), usize::from(field(program, 56)?));
    for n in 0..count {
        let at = start.checked_add(n.checked_mul(size)?)?;
        if u32::from_le_bytes(bytes(program, at)?) == INTERPRETER {
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

    /// The headers of a program, with one program header of type `kind`.
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
    fn a_static_program_of_the_platform_is_taken() {
        check(&program(62, 1), &"linux/amd64".parse().unwrap()).unwrap();
        check(&program(183, 1), &"linux/arm64".parse().unwrap()).unwrap();
    }

    #[test]
    fn what_would_not_run_is_refused_with_the_reason() {
        let amd64 = "linux/amd64".parse().unwrap();
        let told = |program: &[u8]| check(program, &amd64).unwrap_err().to_string();
        assert!(told(b"#!/bin/sh\n").contains("expected a program for Linux"));
        assert!(told(&program(183, 1)).contains("found one for the ELF machine 183"));
        assert!(told(&program(62, 3)).contains("found one that needs some"));
        assert!(told(&program(62, 1)[..66]).contains("whole program headers"));
    }

    #[test]
    fn this_very_test_needs_shared_libraries() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let told = check(&own, &Platform::here()).unwrap_err().to_string();
        assert!(told.contains("found one that needs some"), "{told}");
    }
}
