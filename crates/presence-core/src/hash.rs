//! FNV-1a, the hash whose value is the same on every node and in every release.
//!
//! It is short, and fixed by its definition. It does not resist an attacker who chooses the input, so it is for
//! spreading and for naming, and not for tables.

/// The FNV-1a hash of `bytes`, with 64 bits.
///
/// ```
/// # use presence_core::hash::fnv1a_64;
/// assert_eq!(fnv1a_64("foobar".bytes()), 0x8594_4171_f739_67e8);
/// ```
pub fn fnv1a_64(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let bytes = bytes.into_iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The FNV-1a hash of `bytes`, with 128 bits.
///
/// ```
/// # use presence_core::hash::fnv1a_128;
/// assert_eq!(fnv1a_128("".bytes()), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
/// ```
pub fn fnv1a_128(bytes: impl IntoIterator<Item = u8>) -> u128 {
    let bytes = bytes.into_iter();
    bytes.fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d,
        |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b),
    )
}
