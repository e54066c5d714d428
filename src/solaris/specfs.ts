// Devices as those see them who use them: what open(2), read(2), ioctl(2) … make of a driver's entry points (specfs), and
// layered drivers (ldi_open_by_name(9F)). Errors are errnos.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import type { AioReq } from './aio.ts';
import { B_STARTED, type Buf } from './buf-struct.ts';
import { FKIOCTL } from './copy.ts';
import { type Cred, kcred } from './cred.ts';
import { type DevInfo, type MinorNode, S_IFBLK } from './dev-info.ts';
import {
  type CbOps,
  FLP64,
  FREAD,
  FWRITE,
  getmajor,
  OTYP_BLK,
  OTYP_CHR,
  OTYP_LYR,
  runEntry,
} from './dev-ops.ts';
import { EBADF, ENOENT, ENOTSUP, ENXIO } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { Pointer } from './pointer.ts';
import { Uio } from './uio.ts';

/** An open device, as a process or a layered driver (ldi_handle_t) has it. */
export class SpecFile {
  readonly dev: number;
  readonly otyp: number;
  /** FREAD, FWRITE … */
  readonly flag: number;
  readonly credp: Cred;
  /** Where the next read or write begins, in bytes. */
  offset = 0;
  closed = false;
  /** With the others of the same device number and type. */
  readonly opens: Opens;

  constructor(dev: number, otyp: number, flag: number, credp: Cred, opens: Opens) {
    this.dev = dev;
    this.otyp = otyp;
    this.flag = flag;
    this.credp = credp;
    this.opens = opens;
  }
}

/** The opens of one device number in one way. */
interface Opens {
  readonly dip: DevInfo;
  readonly dev: number;
  readonly otyp: number;
  count: number;
  /** The driver took one of them: it must hear of a close. */
  opened: boolean;
}

/** What a read or write came to. */
interface Transfer {
  readonly file: SpecFile;
  readonly addr: number;
  readonly len: number;
  readonly offset: number;
  readonly donep: Pointer<number>;
}

export function createSpecfs(k: Solaris) {
  /** By device number and type. */
  const opens: Opens[] = [];

  function opsOf(dev: number): CbOps | null {
    return k.ddi.major_of(dev)?.ops.devo_cb_ops ?? null;
  }

  /** One open more. */
  function count(dip: DevInfo, dev: number, otyp: number): Opens {
    let entry = opens.find((one) => one.dev === dev && one.otyp === otyp);
    if (entry === undefined) {
      entry = { dip, dev, otyp, count: 0, opened: false };
      opens.push(entry);
    }
    entry.count++;
    return entry;
  }

  function uncount(entry: Opens): void {
    if (--entry.count === 0) opens.splice(opens.indexOf(entry), 1);
  }

  /** DRV-02: one open less; its driver hears of the last one, and of every one of OTYP_LYR. */
  function* giveUp(entry: Opens, flag: number, credp: Cred): Sleeps<number> {
    uncount(entry);
    if (!entry.opened || (entry.count > 0 && entry.otyp !== OTYP_LYR)) return 0;
    const close = opsOf(entry.dev)?.cb_close;
    return close === undefined ? ENXIO : yield* runEntry(close(entry.dev, flag, entry.otyp, credp));
  }

  function* openNode(
    node: MinorNode | null,
    flag: number,
    otyp: number,
    credp: Cred,
    filep: Pointer<SpecFile>,
  ): Sleeps<number> {
    filep.value = null;
    if (node === null) return ENOENT;
    const cb_open = opsOf(node.dev)?.cb_open;
    const dip = k.ddi.dip_of(node.dev);
    if (dip === null || cb_open === undefined) return ENXIO;
    let entry = count(dip, node.dev, otyp); // at once: nobody's close is the last one meanwhile
    const devp = new Pointer<number>();
    devp.value = node.dev;
    const error = yield* runEntry(cb_open(devp, flag, otyp, credp));
    if (error !== 0) {
      if (otyp === OTYP_LYR) uncount(entry);
      else yield* giveUp(entry, flag, credp);
      return error;
    }
    const dev = devp.value ?? node.dev;
    if (dev !== node.dev) {
      uncount(entry);
      entry = count(dip, dev, otyp);
    }
    entry.opened = true;
    filep.value = new SpecFile(dev, otyp, flag, credp, entry);
    return 0;
  }

  /** @throws KernelBug `spec-closed` */
  function mustOpen(file: SpecFile, where: string): void {
    if (file.closed) throw new KernelBug('spec-closed', 'the device was closed', where);
  }

  function* closeFile(file: SpecFile, where: string): Sleeps<number> {
    mustOpen(file, where);
    file.closed = true;
    return yield* giveUp(file.opens, file.flag, file.credp);
  }

  /** A read or a write through the character device. */
  function* transfer({ file, addr, len, offset, donep }: Transfer, rw: 'read' | 'write'): Sleeps<number> {
    mustOpen(file, `spec_${rw}`);
    donep.value = 0;
    if ((file.flag & (rw === 'read' ? FREAD : FWRITE)) === 0) return EBADF;
    if (file.otyp !== OTYP_CHR) return ENOTSUP;
    const ops = opsOf(file.dev);
    const entry = rw === 'read' ? ops?.cb_read : ops?.cb_write;
    if (entry === undefined) return ENXIO;
    const uio = new Uio({ iov: [{ iov_base: addr, iov_len: len }], loffset: offset });
    const error = yield* runEntry(entry(file.dev, uio, file.credp));
    donep.value = len - uio.uio_resid;
    return error;
  }

  /** Where the file stands moves on, whatever comes of it. */
  function* moveOn(
    file: SpecFile,
    addr: number,
    len: number,
    donep: Pointer<number>,
    rw: 'read' | 'write',
  ): Sleeps<number> {
    const error = yield* transfer({ file, addr, len, offset: file.offset, donep }, rw);
    file.offset += donep.value ?? 0;
    return error;
  }

  function* asynchronous(file: SpecFile, req: AioReq, rw: 'read' | 'write'): Sleeps<number> {
    mustOpen(file, `spec_a${rw}`);
    if ((file.flag & (rw === 'read' ? FREAD : FWRITE)) === 0) return EBADF;
    const ops = opsOf(file.dev);
    const entry = rw === 'read' ? ops?.cb_aread : ops?.cb_awrite;
    if (file.otyp !== OTYP_CHR || entry === undefined) return ENOTSUP;
    return yield* runEntry(entry(file.dev, req, file.credp));
  }

  function strategy(bp: Buf): number {
    const cb_strategy = opsOf(bp.b_edev)?.cb_strategy;
    if (cb_strategy === undefined) {
      k.buf.bioerror(bp, ENXIO);
      bp.b_resid = bp.b_bcount;
      k.buf.biodone(bp);
      return 0;
    }
    bp.b_flags |= B_STARTED;
    const result = cb_strategy(bp);
    if (result !== undefined && result !== 0)
      k.warnings.warn('DRV-01', `strategy returned ${result}: nobody looks at it`, nameOf(bp.b_edev));
    return 0;
  }

  function nameOf(dev: number): string {
    return k.ddi.major_of(dev)?.modldrv.drv_name ?? `major ${getmajor(dev)}`;
  }

  return {
    /**
     * Opens a device by its path. User context.
     * @param path `driver@instance:name`, with or without `/devices/` before it
     * @param flag FREAD, FWRITE … as cb_open gets it
     * @param filep gets what the other functions want; null on failure
     * @returns 0, ENOENT (no such node), ENXIO (no such device), or what cb_open returned
     */
    *spec_open(path: string, flag: number, filep: Pointer<SpecFile>, credp: Cred = kcred): Sleeps<number> {
      k.mightSleep('spec_open');
      const node = k.ddi.minor_node(path);
      const otyp = node?.spec_type === S_IFBLK ? OTYP_BLK : OTYP_CHR;
      return yield* openNode(node, flag, otyp, credp, filep);
    },

    /** Closes it: 0, or what cb_close returned, if this was the last open (DRV-02). User context. */
    *spec_close(file: SpecFile): Sleeps<number> {
      k.mightSleep('spec_close');
      return yield* closeFile(file, 'spec_close');
    },

    /**
     * Reads where the file stands, and moves on. User context.
     * @param addr, len memory of the process
     * @param donep gets the number of bytes that were moved, also beside an error
     * @returns 0, EBADF (not open for that), ENOTSUP (a block device: there is no cache of blocks), ENXIO (no cb_read), or
     *   what cb_read returned
     */
    *spec_read(file: SpecFile, addr: number, len: number, donep: Pointer<number>): Sleeps<number> {
      return yield* moveOn(file, addr, len, donep, 'read');
    },

    /** spec_read() at a place of choice: the file stays where it stands. User context. */
    *spec_pread(
      file: SpecFile,
      addr: number,
      len: number,
      offset: number,
      donep: Pointer<number>,
    ): Sleeps<number> {
      return yield* transfer({ file, addr, len, offset, donep }, 'read');
    },

    /** Writes where the file stands, and moves on: see spec_read(). User context. */
    *spec_write(file: SpecFile, addr: number, len: number, donep: Pointer<number>): Sleeps<number> {
      return yield* moveOn(file, addr, len, donep, 'write');
    },

    /** spec_write() at a place of choice. User context. */
    *spec_pwrite(
      file: SpecFile,
      addr: number,
      len: number,
      offset: number,
      donep: Pointer<number>,
    ): Sleeps<number> {
      return yield* transfer({ file, addr, len, offset, donep }, 'write');
    },

    /**
     * ioctl(2). User context.
     * @param rvalp gets what ioctl(2) returns when there is no error; 0 unless the driver says otherwise
     * @returns 0, ENXIO (no cb_ioctl), or what cb_ioctl returned
     */
    *spec_ioctl(file: SpecFile, cmd: number, arg: number, rvalp: Pointer<number>): Sleeps<number> {
      mustOpen(file, 'spec_ioctl');
      rvalp.value = 0;
      const cb_ioctl = opsOf(file.dev)?.cb_ioctl;
      if (cb_ioctl === undefined) return ENXIO;
      const mode = (file.flag | FLP64) >>> 0;
      return yield* runEntry(cb_ioctl(file.dev, cmd, arg, mode, file.credp, rvalp));
    },

    /**
     * Starts an asynchronous read: 0, EBADF, ENOTSUP (no cb_aread), or what cb_aread returned. aio_reap() waits for its
     * end. User context.
     */
    *spec_aread(file: SpecFile, req: AioReq): Sleeps<number> {
      return yield* asynchronous(file, req, 'read');
    },

    /** Starts an asynchronous write: see spec_aread(). User context. */
    *spec_awrite(file: SpecFile, req: AioReq): Sleeps<number> {
      return yield* asynchronous(file, req, 'write');
    },

    /** How many opens a device has that were not closed. Any context. */
    spec_opens(dip: DevInfo): number {
      return opens.reduce((sum, one) => sum + (one.dip === dip ? one.count : 0), 0);
    },

    /**
     * Hands a buf to the driver of its device, b_edev: 0. What comes of it is in the buf (DRV-01); without such a driver
     * that is ENXIO. Any context but high-level interrupts.
     */
    bdev_strategy(bp: Buf): number {
      return strategy(bp);
    },

    /** Has the driver say something, in any context: 0, or ENXIO without cb_print. */
    bdev_print(dev: number, str: string): number {
      return opsOf(dev)?.cb_print?.(dev, str) ?? ENXIO;
    },

    /**
     * Has the driver write memory of the kernel as after a crash: with all interrupts held off.
     * @returns 0, ENXIO (no cb_dump), or what cb_dump returned
     */
    bdev_dump(dev: number, addr: number, blkno: number, nblk: number): number {
      const cb_dump = opsOf(dev)?.cb_dump;
      if (cb_dump === undefined) return ENXIO;
      const enabled = k.cpu.irqSave();
      try {
        return cb_dump(dev, addr, blkno, nblk);
      } finally {
        k.cpu.irqRestore(enabled);
      }
    },

    // ---- layered drivers

    /** Opens a device for a driver above it: OTYP_LYR. User or kernel context. See spec_open(). */
    *ldi_open_by_name(path: string, flag: number, credp: Cred, lhp: Pointer<SpecFile>): Sleeps<number> {
      k.mightSleep('ldi_open_by_name');
      return yield* openNode(k.ddi.minor_node(path), flag, OTYP_LYR, credp, lhp);
    },

    /** Closes it: the driver hears of every such close (DRV-02). User or kernel context. */
    *ldi_close(lh: SpecFile, _flag: number, _credp: Cred): Sleeps<number> {
      k.mightSleep('ldi_close');
      return yield* closeFile(lh, 'ldi_close');
    },

    /** Hands a buf to the device: 0. Its b_edev becomes that device's. Any context but high-level interrupts. */
    ldi_strategy(lh: SpecFile, bp: Buf): number {
      mustOpen(lh, 'ldi_strategy');
      bp.b_edev = lh.dev;
      return strategy(bp);
    },

    /** ioctl of the kernel: `mode` has FKIOCTL, and `arg` is an address of the kernel's. User or kernel context. */
    *ldi_ioctl(
      lh: SpecFile,
      cmd: number,
      arg: number,
      mode: number,
      credp: Cred,
      rvalp: Pointer<number>,
    ): Sleeps<number> {
      mustOpen(lh, 'ldi_ioctl');
      rvalp.value = 0;
      const cb_ioctl = opsOf(lh.dev)?.cb_ioctl;
      if (cb_ioctl === undefined) return ENXIO;
      return yield* runEntry(cb_ioctl(lh.dev, cmd, arg, (mode | FKIOCTL) >>> 0, credp, rvalp));
    },
  };
}
