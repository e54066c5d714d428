import { KIND_AHA1542 } from '../bus/codes';
import { createDevice, Device } from '../bus/device';
import { Request } from '../media/media';

@unmanaged
export class Aha1542 extends Device {
  todo: u32;
}

export function create(line: u32): u32 {
  const d = createDevice(KIND_AHA1542, offsetof<Aha1542>(), line);
  return <u32>changetype<usize>(d);
}
export function attach(d: Aha1542, place: u32, unit: u32, disk: u32): bool {
  return false;
}
export function read(d: Aha1542, at: u32, size: u32): u32 {
  return 0xffffffff;
}
export function write(d: Aha1542, at: u32, size: u32, value: u32): void {}
export function event(d: Aha1542, code: u32, tag: u32): void {}
export function mediaData(d: Aha1542, r: Request): void {}
export function mediaDone(d: Aha1542, r: Request): void {}
export function reset(d: Aha1542, kind: u32): void {}
