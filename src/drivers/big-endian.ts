// Numbers in SCSI commands and data: the highest byte first.

export function get32(data: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = data.subarray(at, at + 4);
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

export function put32(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 24;
  data[at + 1] = value >>> 16;
  data[at + 2] = value >>> 8;
  data[at + 3] = value;
}
