// Lists of buffers, as vectored reads and writes take them.

/** Bytes in all buffers. */
export function lengthOf(buffers: readonly Uint8Array[]): number {
  let length = 0;
  for (const buffer of buffers) length += buffer.length;
  return length;
}

/** Views of `length` bytes from byte `from` of the buffers on. */
export function sliceOf(buffers: readonly Uint8Array[], from: number, length: number): Uint8Array[] {
  const slices: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (length === 0) break;
    if (from >= buffer.length) {
      from -= buffer.length;
      continue;
    }
    const slice = buffer.subarray(from, from + length);
    slices.push(slice);
    length -= slice.length;
    from = 0;
  }
  return slices;
}

/**
 * How many of `length` bytes at `offset` lie on a medium of `bytes` bytes. Throws RangeError for numbers that
 * are no place on any medium.
 */
export function lengthOn(bytes: number, offset: number, length: number): number {
  if (!(Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0)) {
    throw new RangeError(`${length} bytes at ${offset}: both must be whole numbers from 0 up`);
  }
  return Math.max(0, Math.min(length, bytes - offset));
}
