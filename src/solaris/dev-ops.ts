// What a driver is to the system: its entry points (cb_ops(9S), dev_ops(9S)), and the numbers of devices.

import type { Sleeps } from '../kernel/index.ts';
import type { AioReq } from './aio.ts';
import type { Buf } from './buf-struct.ts';
import type { Cred } from './cred.ts';
import type { DevInfo } from './dev-info.ts';
import { ENXIO } from './errno.ts';
import type { Pointer } from './pointer.ts';
import type { Uio } from './uio.ts';

export const DEVO_REV = 4;
export const CB_REV = 1;
/** cb_flag: the driver has locks of its own; it knows 64-bit offsets. */
export const D_MP = 0x20;
export const D_NEW = 0;
export const D_64BIT = 0x200;

/** How a device is opened, `otyp`: as a block device, a mounted one, a character device, to swap, by a layered driver. */
export const OTYP_BLK = 0;
export const OTYP_MNT = 1;
export const OTYP_CHR = 2;
export const OTYP_SWP = 3;
export const OTYP_LYR = 4;

/** Flags of an open (<sys/file.h>). */
export const FREAD = 0x01;
export const FWRITE = 0x02;
export const FNDELAY = 0x04;
export const FEXCL = 0x400;
/** Part of `mode` of cb_ioctl: data as programs of 64 bits have it. */
export const FLP64 = 0x200000;

/** Commands of devo_attach, devo_detach and devo_getinfo. */
export const DDI_ATTACH = 0;
export const DDI_DETACH = 0;
export const DDI_INFO_DEVT2DEVINFO = 0;
export const DDI_INFO_DEVT2INSTANCE = 1;

/** What devo_probe returns. DDI_PROBE_FAILURE is ENXIO. */
export const DDI_PROBE_FAILURE = ENXIO;
export const DDI_PROBE_DONTCARE = 0;
export const DDI_PROBE_PARTIAL = 1;
export const DDI_PROBE_SUCCESS = 2;

/** Kinds of minor nodes. */
export const DDI_PSEUDO = 'ddi_pseudo';
export const DDI_NT_BLOCK = 'ddi_block';
export const DDI_NT_BLOCK_CHAN = 'ddi_block:channel';

/** An entry point that may sleep: a generator function, or a plain one. */
export type Entry<Args extends readonly unknown[]> = (...args: Args) => Sleeps<number> | number;

/** Entry points for those who use a device (cb_ops(9S)). One that is left out is nodev(). */
export interface CbOps {
  /** User context. May put another minor number into `devp`. Returns 0 or an errno. */
  readonly cb_open?: Entry<[devp: Pointer<number>, flag: number, otyp: number, credp: Cred]>;
  /** User context. Once for each type of open when the last such open goes, for OTYP_LYR once for each open (DRV-02). */
  readonly cb_close?: Entry<[dev: number, flag: number, otyp: number, credp: Cred]>;
  /** Any context but a high-level interrupt. Must not sleep; what comes of it is in the buf alone (DRV-01). */
  readonly cb_strategy?: (bp: Buf) => number | undefined;
  /** Says something about the device on the console. */
  readonly cb_print?: (dev: number, str: string) => number | undefined;
  /** Writes `nblk` blocks of kernel memory when the system has crashed: without interrupts. */
  readonly cb_dump?: (dev: number, addr: number, blkno: number, nblk: number) => number;
  readonly cb_read?: Entry<[dev: number, uiop: Uio, credp: Cred]>;
  readonly cb_write?: Entry<[dev: number, uiop: Uio, credp: Cred]>;
  /** `arg` is the caller's number or address, see ddi_copyin(); `rvalp` what ioctl(2) returns. */
  readonly cb_ioctl?: Entry<
    [dev: number, cmd: number, arg: number, mode: number, credp: Cred, rvalp: Pointer<number>]
  >;
  readonly cb_aread?: Entry<[dev: number, aio_reqp: AioReq, credp: Cred]>;
  readonly cb_awrite?: Entry<[dev: number, aio_reqp: AioReq, credp: Cred]>;
  /** CB_REV. */
  readonly cb_rev?: number;
  /** D_NEW | D_MP … */
  readonly cb_flag?: number;

  // Nothing here calls the others: devices are not mapped into processes, not polled, and are no streams.

  readonly cb_devmap?: (...args: never[]) => unknown;
  readonly cb_mmap?: (...args: never[]) => unknown;
  readonly cb_segmap?: (...args: never[]) => unknown;
  readonly cb_chpoll?: (...args: never[]) => unknown;
  readonly cb_prop_op?: (...args: never[]) => unknown;
  readonly cb_str?: null;
}

/** Entry points for the system that finds devices (dev_ops(9S)). */
export interface DevOps {
  /** DEVO_REV. */
  readonly devo_rev?: number;
  readonly devo_refcnt?: number;
  /**
   * Which device, or which instance, a device number belongs to: DDI_SUCCESS with `resultp`, or DDI_FAILURE. Left out:
   * minor numbers are those of the instance's minor nodes.
   */
  readonly devo_getinfo?: (
    dip: DevInfo | null,
    infocmd: number,
    arg: number,
    resultp: Pointer<DevInfo | number>,
  ) => number;
  /** Is the device there? A DDI_PROBE_ code. Left out: it is. */
  readonly devo_probe?: Entry<[dip: DevInfo]>;
  /** Kernel context: `cmd` is DDI_ATTACH. DDI_SUCCESS or DDI_FAILURE. */
  readonly devo_attach: Entry<[dip: DevInfo, cmd: number]>;
  /** Kernel context, when nobody has the device open: `cmd` is DDI_DETACH. Left out: it cannot be detached. */
  readonly devo_detach?: Entry<[dip: DevInfo, cmd: number]>;
  /** Stops the device, so that it touches memory no more: at the highest interrupt level, without locks. */
  readonly devo_quiesce?: (dip: DevInfo) => number;
  readonly devo_cb_ops: CbOps | null;
  /** Of a nexus, which no driver here is. */
  readonly devo_bus_ops?: null;
}

/** What a driver's module says of itself (modldrv(9S)). */
export interface Modldrv {
  /** Name of the driver: that of its devices, and the first part of their paths. */
  readonly drv_name: string;
  /** For people. */
  readonly drv_linkinfo?: string;
  readonly drv_dev_ops: DevOps;
}

/** An entry point that a driver does not have. */
export function nodev(): number {
  return ENXIO;
}

/** An entry point that has nothing to do. */
export function nulldev(): number {
  return 0;
}

/** Minor numbers have 32 bits; the major number stands above. */
const MINORS = 2 ** 32;

/** The device number of a major and a minor number. */
export function makedevice(majnum: number, minnum: number): number {
  return majnum * MINORS + minnum;
}

export function getmajor(dev: number): number {
  return Math.floor(dev / MINORS);
}

export function getminor(dev: number): number {
  return dev % MINORS;
}

/** What an entry point returns in the end. */
export function* runEntry(result: Sleeps<number> | number): Sleeps<number> {
  return typeof result === 'number' ? result : yield* result;
}
