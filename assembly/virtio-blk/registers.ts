// The register files: common configuration ([1] 4.1.4.3), notifications, ISR status, and the legacy interface
// ([1] 4.1.4.10; references in state.ts).
import { functionOf } from '../bus/device';
import { setLine } from '../bus/irq';
import { msixEnabled } from '../bus/msix';
import { configByte, configWord, isAcceptable, offeredLow, writeConfig } from './config';
import { runQueue } from './queue';
import {
  DESC_BYTES,
  LEGACY_ALIGN,
  LEGACY_CONFIG_MSIX,
  LEGACY_CONFIG_VECTOR,
  LEGACY_DEVICE_FEATURES,
  LEGACY_DRIVER_FEATURES,
  LEGACY_ISR,
  LEGACY_PAGE_SHIFT,
  LEGACY_QUEUE_ADDRESS,
  LEGACY_QUEUE_NOTIFY,
  LEGACY_QUEUE_SELECT,
  LEGACY_QUEUE_SIZE,
  LEGACY_QUEUE_VECTOR,
  LEGACY_STATUS,
  RING_ENTRIES,
  VIRTIO_AT_COMMON,
  VIRTIO_AT_CONFIG,
  VIRTIO_AT_ISR,
  VIRTIO_AT_NOTIFY,
  VIRTIO_COMMON_BYTES,
  VIRTIO_CONFIG_VECTOR,
  VIRTIO_DEVICE_FEATURE,
  VIRTIO_DEVICE_FEATURE_SELECT,
  VIRTIO_DRIVER_FEATURE,
  VIRTIO_DRIVER_FEATURE_SELECT,
  VIRTIO_DRIVER_OK,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_FEATURES_OK,
  VIRTIO_NEEDS_RESET,
  VIRTIO_NO_VECTOR,
  VIRTIO_QUEUE_DESC,
  VIRTIO_QUEUE_DEVICE,
  VIRTIO_QUEUE_DRIVER,
  VIRTIO_QUEUE_ENABLE,
  VIRTIO_QUEUE_SELECT,
  VIRTIO_QUEUE_SIZE,
  VIRTIO_QUEUE_VECTOR,
  VIRTIO_STATUS,
} from './regs';
import { resetDevice } from './reset';
import { dropQueue, isPacked, needReset, Queue, queueAt, rewindQueue, VirtioBlk } from './state';

/** A read in the BAR of the structures. */
export function readModern(d: VirtioBlk, at: u32, size: u32): u32 {
  if (at < <u32>VIRTIO_AT_ISR) return cut(readCommon, d, at - VIRTIO_AT_COMMON, size);
  if (at < <u32>VIRTIO_AT_CONFIG) return at == <u32>VIRTIO_AT_ISR ? readIsr(d) : 0;
  if (at < <u32>VIRTIO_AT_NOTIFY) return cut(configWord, d, at - VIRTIO_AT_CONFIG, size);
  return 0;
}

export function writeModern(d: VirtioBlk, at: u32, size: u32, value: u32): void {
  if (at >= <u32>VIRTIO_AT_NOTIFY) {
    // The multiplier spreads the queues over the BAR; without it the value names the queue.
    notify(d, d.multiplier == 0 ? value & 0xffff : (at - VIRTIO_AT_NOTIFY) / d.multiplier);
  } else if (at >= <u32>VIRTIO_AT_CONFIG) writeConfig(d, at - VIRTIO_AT_CONFIG, size, value);
  else if (at < <u32>VIRTIO_COMMON_BYTES) writeCommon(d, at, size, value);
}

/** Takes an access of any size out of the dwords that `word` reads. */
function cut(word: (d: VirtioBlk, at: u32) => u32, d: VirtioBlk, at: u32, size: u32): u32 {
  const low = <u64>word(d, at & ~3);
  const high: u64 = (at & 3) + size > 4 ? word(d, (at & ~3) + 4) : 0;
  const value = <u32>(((high << 32) | low) >> ((at & 3) << 3));
  return size == 4 ? value : value & (((<u32>1) << (size << 3)) - 1);
}

/** Reading the ISR status acknowledges it. */
function readIsr(d: VirtioBlk): u32 {
  const isr = d.isr;
  if (isr != 0) {
    d.isr = 0;
    setLine(d, false);
  }
  return isr;
}

function notify(d: VirtioBlk, queue: u32): void {
  if (queue < d.queueCount) runQueue(d, queueAt(d, queue));
}

function readCommon(d: VirtioBlk, at: u32): u32 {
  if (at >= <u32>VIRTIO_QUEUE_SIZE && at < <u32>VIRTIO_COMMON_BYTES) return readQueue(d, at);
  switch (at) {
    case VIRTIO_DEVICE_FEATURE_SELECT:
      return d.featureSelect;
    case VIRTIO_DEVICE_FEATURE:
      return d.featureSelect == 0 ? offeredLow(d) : d.featureSelect == 1 ? d.offeredHigh : 0;
    case VIRTIO_DRIVER_FEATURE_SELECT:
      return d.driverSelect;
    case VIRTIO_DRIVER_FEATURE:
      return d.driverSelect == 0 ? d.accepted : d.driverSelect == 1 ? d.acceptedHigh : 0;
    case VIRTIO_CONFIG_VECTOR:
      return d.configVector | (d.queueCount << 16);
    case VIRTIO_STATUS:
      return d.status | ((d.generation & 0xff) << 8) | (d.queueSelect << 16);
    default:
      return 0;
  }
}

/** A queue that is not there has size 0. */
function readQueue(d: VirtioBlk, at: u32): u32 {
  if (d.queueSelect >= d.queueCount) return 0;
  const q = queueAt(d, d.queueSelect);
  switch (at) {
    case VIRTIO_QUEUE_SIZE:
      return q.size | (q.vector << 16);
    case VIRTIO_QUEUE_ENABLE:
      return q.enabled | ((d.multiplier == 0 ? 0 : q.index) << 16);
    case VIRTIO_QUEUE_DESC:
      return <u32>q.desc;
    case VIRTIO_QUEUE_DESC + 4:
      return <u32>(q.desc >> 32);
    case VIRTIO_QUEUE_DRIVER:
      return <u32>q.driver;
    case VIRTIO_QUEUE_DRIVER + 4:
      return <u32>(q.driver >> 32);
    case VIRTIO_QUEUE_DEVICE:
      return <u32>q.device;
    default:
      return <u32>(q.device >> 32);
  }
}

/** Fields are written in their own size, 64-bit ones in halves ([1] 4.1.3.1); anything else has no effect. */
function writeCommon(d: VirtioBlk, at: u32, size: u32, value: u32): void {
  if (at >= <u32>VIRTIO_QUEUE_SIZE) return writeQueue(d, at, size, value);
  if (size == 4) {
    if (at == <u32>VIRTIO_DEVICE_FEATURE_SELECT) d.featureSelect = value;
    else if (at == <u32>VIRTIO_DRIVER_FEATURE_SELECT) d.driverSelect = value;
    else if (at == <u32>VIRTIO_DRIVER_FEATURE && (d.status & VIRTIO_FEATURES_OK) == 0) {
      if (d.driverSelect == 0) d.accepted = value;
      else if (d.driverSelect == 1) d.acceptedHigh = value;
    }
  } else if (size == 2) {
    if (at == <u32>VIRTIO_CONFIG_VECTOR) d.configVector = vectorOf(d, value);
    else if (at == <u32>VIRTIO_QUEUE_SELECT) d.queueSelect = value & 0xffff;
  } else if (size == 1 && at == <u32>VIRTIO_STATUS) {
    writeStatus(d, value & 0xff);
  }
}

/** A queue that is enabled does not change until it is reset. */
function writeQueue(d: VirtioBlk, at: u32, size: u32, value: u32): void {
  if (d.queueSelect >= d.queueCount) return;
  const q = queueAt(d, d.queueSelect);
  if (size == 2) {
    if (at == <u32>VIRTIO_QUEUE_VECTOR) q.vector = vectorOf(d, value);
    if (q.enabled != 0) return;
    value &= 0xffff;
    if (at == <u32>VIRTIO_QUEUE_SIZE && value != 0 && value <= d.queueMax) q.size = value;
    else if (at == <u32>VIRTIO_QUEUE_ENABLE && value == 1) enable(d, q);
  } else if (size == 4 && q.enabled == 0) {
    const shift: u64 = (at & 4) << 3;
    const keep: u64 = ~((<u64>0xffffffff) << shift);
    const bits = (<u64>value) << shift;
    const field = at & ~4;
    if (field == <u32>VIRTIO_QUEUE_DESC) q.desc = (q.desc & keep) | bits;
    else if (field == <u32>VIRTIO_QUEUE_DRIVER) q.driver = (q.driver & keep) | bits;
    else if (field == <u32>VIRTIO_QUEUE_DEVICE) q.device = (q.device & keep) | bits;
  }
}

/** Queues are enabled between FEATURES_OK and use; the size of a split one is a power of two ([1] 2.7). */
function enable(d: VirtioBlk, q: Queue): void {
  if ((d.status & VIRTIO_FEATURES_OK) == 0) return;
  if (!isPacked(d) && (q.size & (q.size - 1)) != 0) return needReset(d);
  rewindQueue(q);
  q.enabled = 1;
}

/** A vector that is not there reads back as none ([1] 4.1.5.1.2). */
function vectorOf(d: VirtioBlk, value: u32): u32 {
  return (value & 0xffff) < functionOf(d).msixVectors ? value & 0xffff : VIRTIO_NO_VECTOR;
}

/** 0 resets. Bits come one after the other and stay; FEATURES_OK only where the features are good ([1] 3.1.1). */
function writeStatus(d: VirtioBlk, value: u32): void {
  if (value == 0) return resetDevice(d);
  let bits = value & ~VIRTIO_NEEDS_RESET;
  if ((d.status & VIRTIO_FEATURES_OK) == 0) {
    if (!isAcceptable(d)) bits &= ~VIRTIO_FEATURES_OK;
    if ((bits & VIRTIO_FEATURES_OK) == 0) bits &= ~VIRTIO_DRIVER_OK;
  }
  d.status |= bits;
}

// The legacy interface. Little endian as the guest is, byte by byte but where a field means something as a whole.

export function readLegacy(d: VirtioBlk, at: u32, size: u32): u32 {
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) value |= legacyByte(d, at + i) << (i << 3);
  return value;
}

function legacyByte(d: VirtioBlk, at: u32): u32 {
  const config = configStart(d);
  if (at >= config) return configByte(d, at - config);
  if (at == <u32>LEGACY_ISR) return readIsr(d);
  if (at == <u32>LEGACY_STATUS) return d.status;
  return (legacyWord(d, at & ~3) >>> ((at & 3) << 3)) & 0xff;
}

function legacyWord(d: VirtioBlk, at: u32): u32 {
  const known = d.queueSelect < d.queueCount;
  switch (at) {
    case LEGACY_DEVICE_FEATURES:
      return offeredLow(d) | VIRTIO_F_ANY_LAYOUT;
    case LEGACY_DRIVER_FEATURES:
      return d.accepted;
    case LEGACY_QUEUE_ADDRESS:
      return known ? queueAt(d, d.queueSelect).frame : 0;
    case LEGACY_QUEUE_SIZE:
      return (known ? queueAt(d, d.queueSelect).size : 0) | (d.queueSelect << 16);
    case LEGACY_CONFIG_VECTOR:
      return d.configVector | ((known ? queueAt(d, d.queueSelect).vector : VIRTIO_NO_VECTOR) << 16);
    default:
      return 0;
  }
}

export function writeLegacy(d: VirtioBlk, at: u32, size: u32, value: u32): void {
  const config = configStart(d);
  if (at >= config) return writeConfig(d, at - config, size, value);
  if (size == 4) {
    if (at == <u32>LEGACY_DRIVER_FEATURES) acceptLegacy(d, value);
    else if (at == <u32>LEGACY_QUEUE_ADDRESS) placeLegacy(d, value);
  } else if (at == <u32>LEGACY_STATUS) {
    if (size != 1) return;
    if ((value & 0xff) == 0) resetDevice(d);
    else d.status |= value & 0xff & ~(VIRTIO_NEEDS_RESET | VIRTIO_FEATURES_OK);
  } else {
    // A byte stands for the whole word: there are drivers that select queues by bytes.
    value &= size == 1 ? 0xff : 0xffff;
    if (at == <u32>LEGACY_QUEUE_SELECT) d.queueSelect = value;
    else if (at == <u32>LEGACY_QUEUE_NOTIFY) notify(d, value);
    else if (at == <u32>LEGACY_CONFIG_VECTOR) d.configVector = vectorOf(d, value);
    else if (at == <u32>LEGACY_QUEUE_VECTOR && d.queueSelect < d.queueCount)
      queueAt(d, d.queueSelect).vector = vectorOf(d, value);
  }
}

/** Features that are not offered cannot be accepted; there is no FEATURES_OK to refuse them. */
function acceptLegacy(d: VirtioBlk, value: u32): void {
  if ((d.status & (VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK)) == 0)
    d.accepted = value & (offeredLow(d) | VIRTIO_F_ANY_LAYOUT);
}

/** A 32-bit page frame: 44 bits of address, the used ring on a page of its own ([1] 2.7.2); 0 stops the queue. */
function placeLegacy(d: VirtioBlk, frame: u32): void {
  if (d.queueSelect >= d.queueCount || (d.status & VIRTIO_FEATURES_OK) != 0) return;
  const q = queueAt(d, d.queueSelect);
  dropQueue(d, q);
  rewindQueue(q);
  q.size = d.queueMax;
  q.frame = frame;
  q.desc = (<u64>frame) << LEGACY_PAGE_SHIFT;
  q.driver = q.desc + q.size * DESC_BYTES;
  q.device = (q.driver + RING_ENTRIES + 2 * q.size + 2 + LEGACY_ALIGN - 1) & ~(<u64>(LEGACY_ALIGN - 1));
  q.enabled = frame != 0 ? 1 : 0;
}

/** The configuration follows the registers, which are four bytes more while MSI-X is on. */
function configStart(d: VirtioBlk): u32 {
  return msixEnabled(functionOf(d)) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG_VECTOR;
}
