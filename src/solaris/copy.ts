// Copies between a driver and who calls it: copyin(9F), copyout(9F), ddi_copyin(9F), ddi_copyout(9F); and between a
// driver and the memory of a buf: bp_copyin(9F), bp_copyout(9F).

import { KernelBug, PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import { bufPage } from './buf.ts';
import type { Buf } from './buf-struct.ts';
import type { Solaris } from './kernel.ts';

/** Memory of the kernel: bytes of the caller's own, or an address of the kernel. */
export type Caddr = Uint8Array | number;

/** In the mode of an ioctl(9E): the kernel itself calls, and its arguments have addresses of the kernel. */
export const FKIOCTL = 0x80000000;

/** What failed copies return. */
const FAULT = -1;

/** @throws KernelBug `kernel-buffer` when the memory is not there, or shorter than that */
export function mustHold(k: Solaris, p: Caddr, bytes: number, where: string): void {
  if (typeof p === 'number') k.kas.mustCover('kernel-buffer', p, bytes, where);
  else if (p.length < bytes)
    throw new KernelBug('kernel-buffer', `a buffer of ${p.length} bytes is to hold ${bytes}`, where);
}

/** Copies from the kernel, `start` bytes into `p`, to the current process; the number of bytes that were copied. */
export function* moveOut(
  k: Solaris,
  p: Caddr,
  start: number,
  address: number,
  bytes: number,
): Sleeps<number> {
  const { userCopy } = k.vm;
  const as = k.curproc.p_as;
  if (typeof p !== 'number') return yield* userCopy.toUser(as, address, p, start, bytes);
  return yield* eachPage(k, p + start, bytes, (phys, done, piece) =>
    userCopy.physToUser(as, address + done, phys, piece),
  );
}

/** Copies from the current process to the kernel, `start` bytes into `p`. */
export function* moveIn(k: Solaris, address: number, p: Caddr, start: number, bytes: number): Sleeps<number> {
  const { userCopy } = k.vm;
  const as = k.curproc.p_as;
  if (typeof p !== 'number') return yield* userCopy.fromUser(as, address, p, start, bytes);
  return yield* eachPage(k, p + start, bytes, (phys, done, piece) =>
    userCopy.userToPhys(as, address + done, phys, piece),
  );
}

/** Calls `copy` for the pieces of memory of the kernel, page by page, as long as all of a piece is copied. */
function* eachPage(
  k: Solaris,
  address: number,
  bytes: number,
  copy: (phys: number, done: number, piece: number) => Sleeps<number>,
): Sleeps<number> {
  let done = 0;
  while (done < bytes) {
    const offset = (address + done) % PAGE_SIZE;
    const piece = Math.min(PAGE_SIZE - offset, bytes - done);
    const page = k.kas.pageAt(address + done);
    if (page === null) break;
    const copied = yield* copy(page.phys + offset, done, piece);
    done += copied;
    if (copied < piece) break;
  }
  return done;
}

/** Copies between two places of the kernel, `start` bytes into `p` and `address`; the number of bytes copied. */
export function moveInKernel(
  k: Solaris,
  p: Caddr,
  start: number,
  address: number,
  bytes: number,
  toP: boolean,
): number {
  if (typeof p !== 'number') {
    const part = p.subarray(start, start + bytes);
    return toP ? k.kas.read(address, part) : k.kas.write(address, part);
  }
  let done = 0;
  while (done < bytes) {
    const [mine, other] = [p + start + done, address + done];
    const [page, otherPage] = [k.kas.pageAt(mine), k.kas.pageAt(other)];
    if (page === null || otherPage === null) break;
    const [offset, otherOffset] = [mine % PAGE_SIZE, other % PAGE_SIZE];
    const piece = Math.min(PAGE_SIZE - Math.max(offset, otherOffset), bytes - done);
    const [phys, otherPhys] = [page.phys + offset, otherPage.phys + otherOffset];
    k.memory.copy(toP ? phys : otherPhys, toP ? otherPhys : phys, piece);
    done += piece;
  }
  return done;
}

export function createCopy(k: Solaris) {
  function* toCaller(p: Caddr, address: number, bytes: number, mode: number, where: string): Sleeps<number> {
    k.mightSleep(where);
    mustHold(k, p, bytes, where);
    const copied =
      (mode & FKIOCTL) !== 0
        ? moveInKernel(k, p, 0, address, bytes, false)
        : yield* moveOut(k, p, 0, address, bytes);
    return copied === bytes ? 0 : FAULT;
  }

  function* fromCaller(
    address: number,
    p: Caddr,
    bytes: number,
    mode: number,
    where: string,
  ): Sleeps<number> {
    k.mightSleep(where);
    mustHold(k, p, bytes, where);
    const copied =
      (mode & FKIOCTL) !== 0
        ? moveInKernel(k, p, 0, address, bytes, true)
        : yield* moveIn(k, address, p, 0, bytes);
    return copied === bytes ? 0 : FAULT;
  }

  /** Copies between `p` and a part of the memory of a buf. */
  function withBuf(p: Caddr, bp: Buf, offset: number, size: number, toBuf: boolean, where: string): number {
    if (!(offset >= 0 && size >= 0 && offset + size <= bp.b_bcount))
      throw new KernelBug('bp-range', `${size} bytes at ${offset} of a buf of ${bp.b_bcount}`, where);
    mustHold(k, p, size, where);
    const { b_addr } = bp.b_un;
    for (let done = 0; done < size; ) {
      const inPage = (b_addr + offset + done) % PAGE_SIZE;
      const piece = Math.min(PAGE_SIZE - inPage, size - done);
      const page = bufPage(k, bp, offset + done);
      if (page === null) return FAULT;
      const phys = page.phys + inPage;
      if (typeof p === 'number') copyKernel(p + done, phys, piece, toBuf);
      else if (toBuf) k.memory.writeBytes(phys, p, done, piece);
      else k.memory.readInto(phys, p, done, piece);
      done += piece;
    }
    return 0;
  }

  /** Copies between addresses of the kernel, which are there, and a page. */
  function copyKernel(address: number, phys: number, bytes: number, toPage: boolean): void {
    for (let done = 0; done < bytes; ) {
      const offset = (address + done) % PAGE_SIZE;
      const piece = Math.min(PAGE_SIZE - offset, bytes - done);
      const kernel = (k.kas.pageAt(address + done)?.phys ?? 0) + offset;
      k.memory.copy(toPage ? phys + done : kernel, toPage ? kernel : phys + done, piece);
      done += piece;
    }
  }

  return {
    /**
     * Copies from the current process to the kernel. User context.
     * @param driverbuf bytes of the caller's own, or an address of the kernel
     * @returns 0, or -1 when not all of it can be read: then some of it may have been copied
     */
    *copyin(userbuf: number, driverbuf: Caddr, cn: number): Sleeps<number> {
      return yield* fromCaller(userbuf, driverbuf, cn, 0, 'copyin');
    },

    /** Copies from the kernel to the current process: 0, or -1 when not all of it can be written. User context. */
    *copyout(driverbuf: Caddr, userbuf: number, cn: number): Sleeps<number> {
      return yield* toCaller(driverbuf, userbuf, cn, 0, 'copyout');
    },

    /**
     * copyin() for arguments of ioctl(9E): with FKIOCTL in `flags`, its mode, `buf` is an address of the kernel. User or
     * kernel context.
     */
    *ddi_copyin(buf: number, driverbuf: Caddr, cn: number, flags: number): Sleeps<number> {
      return yield* fromCaller(buf, driverbuf, cn, flags, 'ddi_copyin');
    },

    /**
     * copyout() for arguments of ioctl(9E): with FKIOCTL in `flags`, its mode, `buf` is an address of the kernel. User or
     * kernel context.
     */
    *ddi_copyout(driverbuf: Caddr, buf: number, cn: number, flags: number): Sleeps<number> {
      return yield* toCaller(driverbuf, buf, cn, flags, 'ddi_copyout');
    },

    /**
     * Copies from the memory of a buf, without mapping it in. Any context.
     * @param offset first byte, in the buf
     * @returns 0, or -1 when a page of it is not there: then some of it may have been copied
     * @throws KernelBug `bp-range` beyond b_bcount
     */
    bp_copyin(bp: Buf, driverbuf: Caddr, offset: number, size: number): number {
      return withBuf(driverbuf, bp, offset, size, false, 'bp_copyin');
    },

    /** Copies to the memory of a buf, in any context; as bp_copyin(). */
    bp_copyout(driverbuf: Caddr, bp: Buf, offset: number, size: number): number {
      return withBuf(driverbuf, bp, offset, size, true, 'bp_copyout');
    },
  };
}
