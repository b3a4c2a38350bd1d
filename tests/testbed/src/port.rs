//! Ports that no other process takes between choosing and listening.

use std::{
    collections::hash_map::RandomState,
    env,
    fs::{self, File},
    hash::{BuildHasher, Hasher},
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::error::Error;

/// Below Linux's ephemeral ports (`ip_local_port_range`, from 32768), so that
/// no outgoing connection takes one that was chosen but not yet listened on.
const FIRST: u16 = 20_000;
/// The number of ports that may be reserved.
const COUNT: u16 = 12_000;

/// A TCP port on the loopback address, reserved for as long as the value lives. A locked file keeps
/// other processes that use this crate away from it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a free port.
    ///
    /// # Errors
    /// The directory of lock files cannot be written, or no port is free.
    pub fn reserve() -> Result<Self, Error> {
        let uid = fs::metadata("/proc/self").map_err(Error::io("read /proc/self"))?.uid();
        let locks = env::temp_dir().join(format!("image-swap-ports-{uid}"));
        fs::create_dir_all(&locks).map_err(Error::io(format!("make {}", locks.display())))?;
        let start = random() % u64::from(COUNT);
        (start..start + u64::from(COUNT))
            .filter_map(|n| u16::try_from(n % u64::from(COUNT)).ok())
            .find_map(|n| Self::try_reserve(&locks, FIRST + n))
            .ok_or_else(|| {
                Error::unavailable(
                    format!("a free port in {FIRST}..{}", FIRST + COUNT),
                    format!("end what listens there, or remove {}", locks.display()),
                )
            })
    }

    fn try_reserve(locks: &Path, number: u16) -> Option<Self> {
        let lock = File::create(locks.join(number.to_string())).ok()?;
        lock.try_lock().ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _lock: lock })
    }

    /// Returns the number of the port.
    pub const fn number(&self) -> u16 {
        self.number
    }
}

/// Picks one of 16 million loopback addresses at random.
pub fn loopback() -> Ipv4Addr {
    let [second, third, last, ..] = random().to_le_bytes();
    // Not 127.0.0.0/16, in which services of the machine itself are.
    Ipv4Addr::new(127, second.max(1), third, last.clamp(1, 254))
}

/// Returns an address of this machine that an endpoint of a Service may have: no loopback
/// address.
///
/// # Errors
/// The machine has no route.
pub fn own_address() -> Result<IpAddr, Error> {
    let find = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // No packet is sent: the kernel chooses the address of the default route. The
        // target is reserved for documentation (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    find().map(|address| address.ip()).map_err(Error::io("find an address of this machine"))
}

/// Returns a random number, from the seed of the standard library's hash maps.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
