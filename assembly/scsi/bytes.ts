// SCSI numbers are big-endian.

export function get16(at: usize): u32 {
  return bswap<u16>(load<u16>(at));
}

export function get24(at: usize): u32 {
  return ((<u32>load<u8>(at)) << 16) | get16(at + 1);
}

export function get32(at: usize): u32 {
  return bswap<u32>(load<u32>(at));
}

export function get64(at: usize): u64 {
  return bswap<u64>(load<u64>(at));
}

export function put16(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value));
}

export function put24(at: usize, value: u32): void {
  store<u8>(at, <u8>(value >>> 16));
  put16(at + 1, value);
}

export function put32(at: usize, value: u32): void {
  store<u32>(at, bswap<u32>(value));
}

export function put64(at: usize, value: u64): void {
  store<u64>(at, bswap<u64>(value));
}
