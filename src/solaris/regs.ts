// Registers of devices: ddi_regs_map_setup(9F), ddi_get8(9F) … ddi_rep_put64(9F), pci_config_setup(9F), pci_config_get8(9F).
//
// The sets of a PCI function are numbered as in its property "reg": 0 is the configuration space, then come the BARs, then
// ports at fixed numbers. Boards on ISA have their ports from 0 on. An address that ddi_regs_map_setup() gives means
// something with its own handle alone. Registers are read and written in every context, high-level interrupts included.

import { KernelBug, PAGE_SIZE } from '../kernel/index.ts';
import type { Controller } from '../machine/controller.ts';
import { type DdiAccHandle, type DdiDeviceAccAttr, type RegisterSet, RegsHandle } from './acc.ts';
import type { DevInfo } from './dev-info.ts';
import { DDI_FAILURE, DDI_SUCCESS } from './dma-attr.ts';
import type { Solaris } from './kernel.ts';
import type { Pointer } from './pointer.ts';

/** Failures of ddi_regs_map_setup(): no such part of a set, no such set. */
export const DDI_ME_REGSPEC_RANGE = -5;
export const DDI_ME_RNUMBER_RANGE = -6;

/** Flags of the repeated forms: all at one address, or one behind the other. */
export const DDI_DEV_NO_AUTOINCR = 0;
export const DDI_DEV_AUTOINCR = 1;

/** Where registers are mapped: no RAM, and nothing of KernelMap, is there. */
const REGISTERS = 2 ** 51;
/** Bytes between two mappings. */
const STRIDE = 2 ** 32;
const CONFIG_BYTES = 256;
const CONFIG = -1;

type Size = 1 | 2 | 4;

interface List<Unit> {
  readonly length: number;
  [i: number]: Unit;
}

/** ddi_rep_get8() and its like: `repcount` units between `host_addr` and the device. */
type Repeated<Units> = (
  handle: DdiAccHandle,
  host_addr: Units,
  dev_addr: number,
  repcount: number,
  flags: number,
) => void;

export function createRegs(k: Solaris) {
  const { memory, kas } = k;
  const sets = new Map<Controller, readonly RegisterSet[]>();
  let mapped = 0;

  /** The sets of a controller; its BARs are sized once, as who boots the system does. */
  function setsOf({ controller }: DevInfo): readonly RegisterSet[] {
    const known = sets.get(controller);
    if (known !== undefined) return known;
    const found: RegisterSet[] = [];
    const { description, profile } = controller;
    if (description.bus === 'pci') found.push({ controller, bar: CONFIG, bytes: CONFIG_BYTES });
    for (const { index, bytes } of controller.bars()) found.push({ controller, bar: index, bytes });
    for (const { bar, count } of description.ports?.(profile) ?? []) {
      if (!found.some((set) => set.bar === bar)) found.push({ controller, bar, bytes: count });
    }
    sets.set(controller, found);
    return found;
  }

  function map(
    set: RegisterSet,
    offset: number,
    bytes: number,
    accattrp: DdiDeviceAccAttr | null,
  ): RegsHandle {
    return new RegsHandle(set, offset, REGISTERS + STRIDE * mapped++, bytes, accattrp);
  }

  /** @throws KernelBug `acc-freed`, `acc-range` */
  function check(handle: DdiAccHandle, addr: number, size: number): void {
    if (handle.freed) throw new KernelBug('acc-freed', 'the handle was freed', `0x${addr.toString(16)}`);
    if (addr >= handle.kaddr && addr + size <= handle.kaddr + handle.bytes) return;
    const what = `${size} bytes are not all in the ${handle.bytes} bytes at 0x${handle.kaddr.toString(16)}`;
    throw new KernelBug('acc-range', what, `0x${addr.toString(16)}`);
  }

  function readRegister({ set, offset, kaddr }: RegsHandle, addr: number, size: Size): number {
    const at = addr - kaddr + offset;
    if (set.bar === CONFIG) return set.controller.configRead(at, size);
    if (size === 1) return set.controller.read8(set.bar, at);
    return size === 2 ? set.controller.read16(set.bar, at) : set.controller.read32(set.bar, at);
  }

  function writeRegister({ set, offset, kaddr }: RegsHandle, addr: number, size: Size, value: number): void {
    const at = addr - kaddr + offset;
    if (set.bar === CONFIG) set.controller.configWrite(at, size, value);
    else if (size === 1) set.controller.write8(set.bar, at, value);
    else if (size === 2) set.controller.write16(set.bar, at, value);
    else set.controller.write32(set.bar, at, value);
  }

  /** The physical address of a byte of memory for devices. */
  function phys(addr: number): number {
    const page = kas.pageAt(addr);
    if (page === null) throw new KernelBug('acc-range', 'the memory is gone', `0x${addr.toString(16)}`);
    return page.phys + (addr % PAGE_SIZE);
  }

  function readMemory(addr: number, size: Size): number {
    if (size === 1) return memory.read8(phys(addr));
    if ((addr % PAGE_SIZE) + size <= PAGE_SIZE)
      return size === 2 ? memory.read16(phys(addr)) : memory.read32(phys(addr));
    const half = (size / 2) as Size;
    return readMemory(addr, half) + readMemory(addr + half, half) * 2 ** (8 * half);
  }

  function writeMemory(addr: number, size: Size, value: number): void {
    if (size === 1) {
      memory.write8(phys(addr), value);
    } else if ((addr % PAGE_SIZE) + size <= PAGE_SIZE) {
      if (size === 2) memory.write16(phys(addr), value);
      else memory.write32(phys(addr), value);
    } else {
      const half = (size / 2) as Size;
      writeMemory(addr, half, value % 2 ** (8 * half));
      writeMemory(addr + half, half, Math.floor(value / 2 ** (8 * half)));
    }
  }

  function read(handle: DdiAccHandle, addr: number, size: Size): number {
    check(handle, addr, size);
    const value = handle instanceof RegsHandle ? readRegister(handle, addr, size) : readMemory(addr, size);
    return handle.swaps ? swapped(value, size) : value;
  }

  function write(handle: DdiAccHandle, addr: number, size: Size, value: number): void {
    check(handle, addr, size);
    const cut = value < 0 || value >= 2 ** (8 * size) ? value & (2 ** (8 * size) - 1) : value;
    const stored = (handle.swaps ? swapped(cut, size) : cut) >>> 0;
    if (handle instanceof RegsHandle) writeRegister(handle, addr, size, stored);
    else writeMemory(addr, size, stored);
  }

  /** Two accesses, the lower address first: no controller here takes one of eight bytes. */
  function read64(handle: DdiAccHandle, addr: number): bigint {
    const [first, second] = [read(handle, addr, 4), read(handle, addr + 4, 4)];
    const [low, high] = handle.swaps ? [second, first] : [first, second];
    return BigInt(low) + (BigInt(high) << 32n);
  }

  function write64(handle: DdiAccHandle, addr: number, value: bigint): void {
    const [low, high] = [Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n))];
    write(handle, addr, 4, handle.swaps ? high : low);
    write(handle, addr + 4, 4, handle.swaps ? low : high);
  }

  /** A repeated form that reads: `get` gets one unit of `size` bytes. */
  function repeatedGet<Unit, Units extends List<Unit>>(
    size: number,
    get: (handle: DdiAccHandle, addr: number) => Unit,
  ): Repeated<Units> {
    return (handle, host_addr, dev_addr, repcount, flags) => {
      mustFit(host_addr.length, repcount);
      const step = flags === DDI_DEV_AUTOINCR ? size : 0;
      for (let i = 0; i < repcount; i++) host_addr[i] = get(handle, dev_addr + i * step);
    };
  }

  /** The same for one that writes. */
  function repeatedPut<Unit, Units extends List<Unit>>(
    size: number,
    put: (handle: DdiAccHandle, addr: number, value: Unit) => void,
  ): Repeated<Units> {
    return (handle, host_addr, dev_addr, repcount, flags) => {
      mustFit(host_addr.length, repcount);
      const step = flags === DDI_DEV_AUTOINCR ? size : 0;
      for (let i = 0; i < repcount; i++) put(handle, dev_addr + i * step, host_addr[i] as Unit); // it has them all
    };
  }

  function release(handlep: Pointer<DdiAccHandle>, where: string): void {
    const handle = handlep.value;
    if (!(handle instanceof RegsHandle) || handle.freed)
      throw new KernelBug('acc-freed', 'no registers, or freed before', where);
    handle.freed = true;
  }

  return {
    /** How many sets of registers there are. User or kernel context. */
    ddi_dev_nregs(dip: DevInfo, resultp: Pointer<number>): number {
      resultp.value = setsOf(dip).length;
      return DDI_SUCCESS;
    },

    /** Bytes of a set: DDI_SUCCESS, or DDI_FAILURE when there is none. User or kernel context. */
    ddi_dev_regsize(dip: DevInfo, rnumber: number, resultp: Pointer<number>): number {
      const set = setsOf(dip)[rnumber];
      if (set === undefined) return DDI_FAILURE;
      resultp.value = set.bytes;
      return DDI_SUCCESS;
    },

    /**
     * Maps `len` bytes (0: all) of a set of registers, from `offset` on. User or kernel context.
     * @param addrp gets the address of the first, for ddi_get8() and its like
     * @returns DDI_SUCCESS, DDI_ME_RNUMBER_RANGE (no such set), DDI_ME_REGSPEC_RANGE (not in it)
     */
    ddi_regs_map_setup(
      dip: DevInfo,
      rnumber: number,
      addrp: Pointer<number>,
      offset: number,
      len: number,
      accattrp: DdiDeviceAccAttr | null,
      handlep: Pointer<DdiAccHandle>,
    ): number {
      const set = setsOf(dip)[rnumber];
      if (set === undefined) return DDI_ME_RNUMBER_RANGE;
      const bytes = len === 0 ? set.bytes - offset : len;
      if (offset < 0 || bytes <= 0 || offset + bytes > set.bytes) return DDI_ME_REGSPEC_RANGE;
      const handle = map(set, offset, bytes, accattrp);
      handlep.value = handle;
      addrp.value = handle.kaddr;
      return DDI_SUCCESS;
    },

    /** Undoes ddi_regs_map_setup(). User or kernel context. @throws KernelBug `acc-freed` when it was done before */
    ddi_regs_map_free(handlep: Pointer<DdiAccHandle>): void {
      release(handlep, 'ddi_regs_map_free');
    },

    // "Any context" means high-level interrupts, too, here. They throw KernelBug `acc-range` outside of what the handle is
    // for.

    /** Reads a byte. Any context. */
    ddi_get8(handle: DdiAccHandle, dev_addr: number): number {
      return read(handle, dev_addr, 1);
    },
    /** Reads 16 bits. Any context. */
    ddi_get16(handle: DdiAccHandle, dev_addr: number): number {
      return read(handle, dev_addr, 2);
    },
    /** Reads 32 bits, unsigned. Any context. */
    ddi_get32(handle: DdiAccHandle, dev_addr: number): number {
      return read(handle, dev_addr, 4);
    },
    /** Reads 64 bits, in two accesses of 32. Any context. */
    ddi_get64(handle: DdiAccHandle, dev_addr: number): bigint {
      return read64(handle, dev_addr);
    },
    /** Writes a byte. Any context. */
    ddi_put8(handle: DdiAccHandle, dev_addr: number, value: number): void {
      write(handle, dev_addr, 1, value);
    },
    /** Writes 16 bits. Any context. */
    ddi_put16(handle: DdiAccHandle, dev_addr: number, value: number): void {
      write(handle, dev_addr, 2, value);
    },
    /** Writes 32 bits. Any context. */
    ddi_put32(handle: DdiAccHandle, dev_addr: number, value: number): void {
      write(handle, dev_addr, 4, value);
    },
    /** Writes 64 bits, in two accesses of 32. Any context. */
    ddi_put64(handle: DdiAccHandle, dev_addr: number, value: bigint): void {
      write64(handle, dev_addr, value);
    },

    // Repeated: `repcount` accesses, at one address (DDI_DEV_NO_AUTOINCR) or one behind the other (DDI_DEV_AUTOINCR). They
    // throw KernelBug `acc-range` when `host_addr` is shorter, too.

    /** Reads bytes. Any context. */
    ddi_rep_get8: repeatedGet<number, Uint8Array>(1, (handle, addr) => read(handle, addr, 1)),
    /** Reads words of 16 bits. Any context. */
    ddi_rep_get16: repeatedGet<number, Uint16Array>(2, (handle, addr) => read(handle, addr, 2)),
    /** Reads words of 32 bits. Any context. */
    ddi_rep_get32: repeatedGet<number, Uint32Array>(4, (handle, addr) => read(handle, addr, 4)),
    /** Reads words of 64 bits. Any context. */
    ddi_rep_get64: repeatedGet<bigint, BigUint64Array>(8, read64),
    /** Writes bytes. Any context. */
    ddi_rep_put8: repeatedPut<number, Uint8Array>(1, (handle, addr, value) => write(handle, addr, 1, value)),
    /** Writes words of 16 bits. Any context. */
    ddi_rep_put16: repeatedPut<number, Uint16Array>(2, (handle, addr, value) =>
      write(handle, addr, 2, value),
    ),
    /** Writes words of 32 bits. Any context. */
    ddi_rep_put32: repeatedPut<number, Uint32Array>(4, (handle, addr, value) =>
      write(handle, addr, 4, value),
    ),
    /** Writes words of 64 bits. Any context. */
    ddi_rep_put64: repeatedPut<bigint, BigUint64Array>(8, write64),

    // ---- the configuration space of PCI

    /** Maps it: DDI_SUCCESS, or DDI_FAILURE for a board on ISA. User or kernel context. */
    pci_config_setup(dip: DevInfo, handlep: Pointer<DdiAccHandle>): number {
      const set = setsOf(dip).find(({ bar }) => bar === CONFIG);
      if (set === undefined) return DDI_FAILURE;
      handlep.value = map(set, 0, set.bytes, null);
      return DDI_SUCCESS;
    },

    /** Undoes pci_config_setup(). User or kernel context. @throws KernelBug `acc-freed` when it was done before */
    pci_config_teardown(handlep: Pointer<DdiAccHandle>): void {
      release(handlep, 'pci_config_teardown');
    },

    /** Reads a byte of it. Any context. */
    pci_config_get8(handle: DdiAccHandle, offset: number): number {
      return read(handle, handle.kaddr + offset, 1);
    },
    /** Reads 16 bits of it. Any context. */
    pci_config_get16(handle: DdiAccHandle, offset: number): number {
      return read(handle, handle.kaddr + offset, 2);
    },
    /** Reads 32 bits of it, unsigned. Any context. */
    pci_config_get32(handle: DdiAccHandle, offset: number): number {
      return read(handle, handle.kaddr + offset, 4);
    },
    /** Writes a byte of it. Any context. */
    pci_config_put8(handle: DdiAccHandle, offset: number, value: number): void {
      write(handle, handle.kaddr + offset, 1, value);
    },
    /** Writes 16 bits of it. Any context. */
    pci_config_put16(handle: DdiAccHandle, offset: number, value: number): void {
      write(handle, handle.kaddr + offset, 2, value);
    },
    /** Writes 32 bits of it. Any context. */
    pci_config_put32(handle: DdiAccHandle, offset: number, value: number): void {
      write(handle, handle.kaddr + offset, 4, value);
    },
  };
}

/** @throws KernelBug `acc-range` when `repcount` units are more than there are in memory */
function mustFit(units: number, repcount: number): void {
  if (repcount > units)
    throw new KernelBug('acc-range', `repcount is ${repcount}, and host_addr has ${units} units`, 'ddi_rep');
}

/** The value with its bytes in the other order. */
function swapped(value: number, size: Size): number {
  let result = 0;
  for (let i = 0, rest = value; i < size; i++, rest >>>= 8) result = result * 256 + (rest & 0xff);
  return result;
}
