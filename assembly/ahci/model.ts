import { KIND_AHCI } from '../bus/codes';
import { createDevice, Device } from '../bus/device';
import { Request } from '../media/media';

@unmanaged
export class Ahci extends Device {
  todo: u32;
}

export function create(line: u32): u32 {
  const d = createDevice(KIND_AHCI, offsetof<Ahci>(), line);
  return <u32>changetype<usize>(d);
}
export function attach(d: Ahci, place: u32, unit: u32, disk: u32): bool {
  return false;
}
export function read(d: Ahci, bar: u32, at: u32, size: u32): u32 {
  return 0xffffffff;
}
export function write(d: Ahci, bar: u32, at: u32, size: u32, value: u32): void {}
export function event(d: Ahci, code: u32, tag: u32): void {}
export function mediaData(d: Ahci, r: Request): void {}
export function mediaDone(d: Ahci, r: Request): void {}
export function reset(d: Ahci, kind: u32): void {}
