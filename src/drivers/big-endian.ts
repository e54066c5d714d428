// Numbers in SCSI commands and data: the highest byte first.

export function get32(data: Uint8Array, at: number): number {
  // Bytes behind the end count as 0.
  const high = ((data[at] ?? 0) << 24) | ((data[at + 1] ?? 0) << 16);
  return (high | ((data[at + 2] ?? 0) << 8) | (data[at + 3] ?? 0)) >>> 0;
}

export function put32(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 24;
  data[at + 1] = value >>> 16;
  data[at + 2] = value >>> 8;
  data[at + 3] = value;
}
