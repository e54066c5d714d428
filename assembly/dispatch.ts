// From the bus to the models: the one place that knows every controller. A model exports the functions that
// are named here; what a controller does not have falls through to the default.

import * as aha1542 from './aha1542/model';
import * as ahci from './ahci/model';
import {
  BLOCK_DEVICE,
  BLOCK_DISK,
  BLOCK_FUNCTION,
  BLOCK_REQUEST,
  EVENT_MEDIA_DATA,
  EVENT_MEDIA_DONE,
  KIND_AHA1542,
  KIND_AHCI,
  KIND_LSI53C895A,
  KIND_NVME,
  KIND_PIIX_IDE,
  KIND_VIRTIO_BLK,
  RESET_FUNCTION,
} from './bus/codes';
import { Device, functionOf } from './bus/device';
import { barDecoded, configRead, configWrite, PciFunction, powerState } from './bus/pci';
import { trace } from './bus/trace';
import { TRACE_READ, TRACE_RESET, TRACE_WRITE } from './bus/trace-codes';
import { windowInBar, windowRead, windowWrite } from './bus/window';
import * as lsi from './lsi53c895a/model';
import { Disk, Request } from './media/media';
import * as nvme from './nvme/model';
import * as piix from './piix-ide/model';
import * as virtioBlk from './virtio-blk/model';

/** Creates a controller of `kind` from the profile in the scratch area; its offset, 0 when refused. */
export function create(kind: u32, line: u32): u32 {
  switch (kind) {
    case KIND_AHA1542:
      return aha1542.create(line);
    case KIND_AHCI:
      return ahci.create(line);
    case KIND_LSI53C895A:
      return lsi.create(line);
    case KIND_NVME:
      return nvme.create(line);
    case KIND_PIIX_IDE:
      return piix.create(line);
    case KIND_VIRTIO_BLK:
      return virtioBlk.create(line);
    default:
      return 0;
  }
}

/** Puts `disk` (0: takes it away) at a place of the controller: port or target, unit. False: no such place. */
export function attach(d: Device, place: u32, unit: u32, disk: u32): bool {
  const optical = disk != 0 && changetype<Disk>(<usize>disk).optical != 0;
  if (optical && (d.kind == KIND_NVME || d.kind == KIND_VIRTIO_BLK)) return false;
  switch (d.kind) {
    case KIND_AHA1542:
      return aha1542.attach(changetype<aha1542.Aha1542>(d), place, unit, disk);
    case KIND_AHCI:
      return ahci.attach(changetype<ahci.Ahci>(d), place, unit, disk);
    case KIND_LSI53C895A:
      return lsi.attach(changetype<lsi.Lsi>(d), place, unit, disk);
    case KIND_NVME:
      return nvme.attach(changetype<nvme.Nvme>(d), place, unit, disk);
    case KIND_PIIX_IDE:
      return piix.attach(changetype<piix.Piix>(d), place, unit, disk);
    case KIND_VIRTIO_BLK:
      return virtioBlk.attach(changetype<virtioBlk.VirtioBlk>(d), place, unit, disk);
    default:
      return false;
  }
}

/** A disk has another size. Who has no way to tell its software shows it when asked. */
export function resized(d: Device, disk: u32): void {
  switch (d.kind) {
    case KIND_AHA1542:
      return aha1542.resized(changetype<aha1542.Aha1542>(d), disk);
    case KIND_LSI53C895A:
      return lsi.resized(changetype<lsi.Lsi>(d), disk);
    case KIND_NVME:
      return nvme.resized(changetype<nvme.Nvme>(d), disk);
    case KIND_VIRTIO_BLK:
      return virtioBlk.resized(changetype<virtioBlk.VirtioBlk>(d), disk);
  }
}

/** A register access of 1, 2 or 4 bytes. On ISA, BAR 0 is the board's port range. */
export function read(d: Device, bar: u32, at: u32, size: u32): u32 {
  d.registerReads++;
  if (!barDecoded(d, bar)) return 0xffffffff;
  const window = d.windows == 0 ? 0 : windowInBar(d, bar, at, size);
  const value = window != 0 ? windowRead(window, size) : readRegister(d, bar, at, size);
  trace(TRACE_READ, d.id, bar, at, size, value);
  return value;
}

function readRegister(d: Device, bar: u32, at: u32, size: u32): u32 {
  switch (d.kind) {
    case KIND_AHA1542:
      return aha1542.read(changetype<aha1542.Aha1542>(d), at, size);
    case KIND_AHCI:
      return ahci.read(changetype<ahci.Ahci>(d), bar, at, size);
    case KIND_LSI53C895A:
      return lsi.read(changetype<lsi.Lsi>(d), bar, at, size);
    case KIND_NVME:
      return nvme.read(changetype<nvme.Nvme>(d), bar, at, size);
    case KIND_PIIX_IDE:
      return piix.read(changetype<piix.Piix>(d), bar, at, size);
    case KIND_VIRTIO_BLK:
      return virtioBlk.read(changetype<virtioBlk.VirtioBlk>(d), bar, at, size);
    default:
      return 0xffffffff;
  }
}

export function write(d: Device, bar: u32, at: u32, size: u32, value: u32): void {
  d.registerWrites++;
  if (!barDecoded(d, bar)) return;
  trace(TRACE_WRITE, d.id, bar, at, size, value);
  if (d.windows != 0) {
    const window = windowInBar(d, bar, at, size);
    if (window != 0) return windowWrite(window, size, value);
  }
  switch (d.kind) {
    case KIND_AHA1542:
      aha1542.write(changetype<aha1542.Aha1542>(d), at, size, value);
      break;
    case KIND_AHCI:
      ahci.write(changetype<ahci.Ahci>(d), bar, at, size, value);
      break;
    case KIND_LSI53C895A:
      lsi.write(changetype<lsi.Lsi>(d), bar, at, size, value);
      break;
    case KIND_NVME:
      nvme.write(changetype<nvme.Nvme>(d), bar, at, size, value);
      break;
    case KIND_PIIX_IDE:
      piix.write(changetype<piix.Piix>(d), bar, at, size, value);
      break;
    case KIND_VIRTIO_BLK:
      virtioBlk.write(changetype<virtioBlk.VirtioBlk>(d), bar, at, size, value);
      break;
  }
}

/** An event of the model's own. */
function event(d: Device, code: u32, tag: u32): void {
  switch (d.kind) {
    case KIND_AHA1542:
      aha1542.event(changetype<aha1542.Aha1542>(d), code, tag);
      break;
    case KIND_AHCI:
      ahci.event(changetype<ahci.Ahci>(d), code, tag);
      break;
    case KIND_LSI53C895A:
      lsi.event(changetype<lsi.Lsi>(d), code, tag);
      break;
    case KIND_NVME:
      nvme.event(changetype<nvme.Nvme>(d), code, tag);
      break;
    case KIND_PIIX_IDE:
      piix.event(changetype<piix.Piix>(d), code, tag);
      break;
    case KIND_VIRTIO_BLK:
      virtioBlk.event(changetype<virtioBlk.VirtioBlk>(d), code, tag);
      break;
  }
}

/** A medium is ready to move data. */
function mediaData(d: Device, r: Request): void {
  switch (d.kind) {
    case KIND_AHA1542:
      aha1542.mediaData(changetype<aha1542.Aha1542>(d), r);
      break;
    case KIND_AHCI:
      ahci.mediaData(changetype<ahci.Ahci>(d), r);
      break;
    case KIND_LSI53C895A:
      lsi.mediaData(changetype<lsi.Lsi>(d), r);
      break;
    case KIND_NVME:
      nvme.mediaData(changetype<nvme.Nvme>(d), r);
      break;
    case KIND_PIIX_IDE:
      piix.mediaData(changetype<piix.Piix>(d), r);
      break;
    case KIND_VIRTIO_BLK:
      virtioBlk.mediaData(changetype<virtioBlk.VirtioBlk>(d), r);
      break;
  }
}

/** A medium has finished what finishRequest() left open. */
function mediaDone(d: Device, r: Request): void {
  switch (d.kind) {
    case KIND_AHA1542:
      aha1542.mediaDone(changetype<aha1542.Aha1542>(d), r);
      break;
    case KIND_AHCI:
      ahci.mediaDone(changetype<ahci.Ahci>(d), r);
      break;
    case KIND_LSI53C895A:
      lsi.mediaDone(changetype<lsi.Lsi>(d), r);
      break;
    case KIND_NVME:
      nvme.mediaDone(changetype<nvme.Nvme>(d), r);
      break;
    case KIND_PIIX_IDE:
      piix.mediaDone(changetype<piix.Piix>(d), r);
      break;
    case KIND_VIRTIO_BLK:
      virtioBlk.mediaDone(changetype<virtioBlk.VirtioBlk>(d), r);
      break;
  }
}

export function reset(d: Device, kind: u32): void {
  trace(TRACE_RESET, d.id, kind, 0, 0, 0);
  switch (d.kind) {
    case KIND_AHA1542:
      aha1542.reset(changetype<aha1542.Aha1542>(d), kind);
      break;
    case KIND_AHCI:
      ahci.reset(changetype<ahci.Ahci>(d), kind);
      break;
    case KIND_LSI53C895A:
      lsi.reset(changetype<lsi.Lsi>(d), kind);
      break;
    case KIND_NVME:
      nvme.reset(changetype<nvme.Nvme>(d), kind);
      break;
    case KIND_PIIX_IDE:
      piix.reset(changetype<piix.Piix>(d), kind);
      break;
    case KIND_VIRTIO_BLK:
      virtioBlk.reset(changetype<virtioBlk.VirtioBlk>(d), kind);
      break;
  }
}

/** Delivers an event from the head of the queue. */
export function deliver(d: Device, code: u32, tag: u32): void {
  if (code == EVENT_MEDIA_DATA) mediaData(d, changetype<Request>(<usize>tag));
  else if (code == EVENT_MEDIA_DONE) mediaDone(d, changetype<Request>(<usize>tag));
  else event(d, code, tag);
}

/** PCI configuration accesses; waking from D3hot is a function reset where the function keeps no state. */
export function readConfig(d: Device, at: u32, size: u32): u32 {
  if (d.pci == 0) return 0xffffffff;
  if (d.kind == KIND_VIRTIO_BLK) {
    virtioBlk.beforeConfigRead(changetype<virtioBlk.VirtioBlk>(d), at, size);
  }
  return configRead(d, at, size);
}

export function writeConfig(d: Device, at: u32, size: u32, value: u32): void {
  if (d.pci == 0) return;
  const before = powerState(functionOf(d));
  configWrite(d, at, size, value);
  if (d.kind == KIND_VIRTIO_BLK) {
    virtioBlk.afterConfigWrite(changetype<virtioBlk.VirtioBlk>(d), at, size);
  }
  if (before == 3 && powerState(functionOf(d)) == 0) reset(d, RESET_FUNCTION);
}

/** Bytes of the class that a block of the arena begins with: KIND_* or BLOCK_*. 0: there is none. */
export function blockBytes(block: u32): u32 {
  switch (block) {
    case BLOCK_DEVICE:
      return offsetof<Device>();
    case BLOCK_FUNCTION:
      return offsetof<PciFunction>();
    case BLOCK_DISK:
      return offsetof<Disk>();
    case BLOCK_REQUEST:
      return offsetof<Request>();
    case KIND_AHA1542:
      return offsetof<aha1542.Aha1542>();
    case KIND_AHCI:
      return offsetof<ahci.Ahci>();
    case KIND_LSI53C895A:
      return offsetof<lsi.Lsi>();
    case KIND_NVME:
      return offsetof<nvme.Nvme>();
    case KIND_PIIX_IDE:
      return offsetof<piix.Piix>();
    case KIND_VIRTIO_BLK:
      return offsetof<virtioBlk.VirtioBlk>();
    default:
      return 0;
  }
}
