// Numbers of 64 bits in big-endian order, as images and network protocols have them.

/** A number of 64 bits; those from 2^53 on are not exact, and refused by every bound. */
export function read64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

export function write64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value % 2 ** 32);
}
