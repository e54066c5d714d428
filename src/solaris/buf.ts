// Buffer headers and the end of a transfer: getrbuf(9F), bioinit(9F), bioclone(9F), biodone(9F), biowait(9F),
// bioerror(9F), geterror(9F), bp_mapin(9F), bp_mapout(9F).

import { KernelBug, PAGE_SIZE, type Page, PG_error, Semaphore, type Sleeps } from '../kernel/index.ts';
import {
  B_ABRWRITE,
  B_ASYNC,
  B_BUSY,
  B_DONE,
  B_ERROR,
  B_FAILFAST,
  B_PAGEIO,
  B_PHYS,
  B_READ,
  B_REMAPPED,
  B_SHADOW,
  B_STARTED,
  B_WRITE,
  Buf,
  type Iodone,
} from './buf-struct.ts';
import { EIO } from './errno.ts';
import type { Solaris } from './kernel.ts';

/** Bytes of a header: what biosize() says. */
const BUF_BYTES = 0xe8;
/** Flags that a clone has of its original. */
const CLONED_FLAGS = B_READ | B_WRITE | B_SHADOW | B_PHYS | B_PAGEIO | B_FAILFAST | B_ABRWRITE;

/** The page that holds a byte of a buf's memory; null when none is there. */
export function bufPage(k: Solaris, bp: Buf, at: number): Page | null {
  const { b_addr } = bp.b_un;
  const kind = bp.b_flags & (B_PHYS | B_PAGEIO);
  const ofKernel = kind === 0 || (kind === B_PHYS && (bp.b_proc === null || bp.b_proc === k.p0));
  if (ofKernel || (bp.b_flags & B_REMAPPED) !== 0) return k.kas.pageAt(b_addr + at);
  const list = (bp.b_flags & B_PAGEIO) !== 0 ? bp.b_pages : bp.b_shadow;
  if (list !== null) return list.page(Math.floor(((b_addr % PAGE_SIZE) + at) / PAGE_SIZE));
  return bp.b_proc?.p_as?.pageTable.page(b_addr + at - ((b_addr + at) % PAGE_SIZE)) ?? null;
}

export function createBuf(k: Solaris) {
  /** @throws KernelBug `buf-state` when the header is not initialised, or was freed */
  function mustReady(bp: Buf, where: string, rule = 'buf-state'): void {
    if (bp.state === 'ready') return;
    const what = bp.state === 'raw' ? 'was never initialised' : 'is no longer in use';
    throw new KernelBug(rule, `the header ${what}`, where);
  }

  function initialise(bp: Buf): void {
    bp.b_flags = 0;
    bp.av_forw = null;
    bp.av_back = null;
    bp.b_edev = 0;
    bp.b_bcount = 0;
    bp.b_bufsize = 0;
    bp.b_resid = 0;
    bp.b_lblkno = 0;
    bp.b_error = 0;
    bp.b_un.b_addr = 0;
    bp.b_proc = null;
    bp.b_shadow = null;
    bp.b_pages = null;
    bp.b_file = null;
    bp.b_offset = -1;
    bp.b_iodone = null;
    bp.b_private = null;
    bp.ended = false;
    bp.b_sem = new Semaphore(k.scheduler, 'b_sem', 0);
    bp.b_io = new Semaphore(k.scheduler, 'b_io', 0);
    bp.state = 'ready';
  }

  /** Nobody has looked at how much of a transfer was done. */
  function tellShort({ resid, b_bcount, b_lblkno, b_flags }: Buf): void {
    const of = `a ${(b_flags & B_READ) !== 0 ? 'read' : 'write'} of ${b_bcount} bytes at block ${b_lblkno}`;
    k.machine.guard.report({
      rule: 'done-short',
      message: `${of} left ${resid} bytes, and nobody has looked at b_resid`,
      length: resid,
      direction: (b_flags & B_READ) !== 0 ? 'write' : 'read',
    });
  }

  function finish(bp: Buf, where: string, rule: string): void {
    mustReady(bp, where, rule);
    if (bp.bindings > 0) throw new KernelBug(rule, 'the buf is bound for DMA', where);
    if ((bp.b_flags & B_STARTED) !== 0)
      throw new KernelBug(rule, 'the driver has the buf: no biodone() was called', where);
    if (!bp.residSeen && geterror(bp) === 0) tellShort(bp);
    bp.b_sem = null;
    bp.b_io = null;
    bp.state = 'finished';
  }

  function* get(kmflag: number): Sleeps<Buf | null> {
    if (!(yield* k.kmem.kmem_take('buf', kmflag))) return null;
    const bp = new Buf();
    bp.allocated = true;
    initialise(bp);
    return bp;
  }

  function free(bp: Buf): void {
    if (!bp.allocated) throw new KernelBug('BUF-04', 'getrbuf() did not make the header', 'freerbuf');
    if ((bp.b_flags & B_REMAPPED) !== 0)
      throw new KernelBug('BUF-04', 'the buf is mapped in, see bp_mapout()', 'freerbuf');
    finish(bp, 'freerbuf', bp.state === 'finished' ? 'BUF-06' : 'BUF-04');
    bp.state = 'free';
    k.kmem.kmem_give('buf');
  }

  function geterror(bp: Buf): number {
    if ((bp.b_flags & B_ERROR) === 0) return 0;
    return bp.b_error === 0 ? EIO : bp.b_error;
  }

  /** The pages under a buf whose memory is a user's or is listed. */
  function pagesOf(bp: Buf, where: string): Page[] {
    const offset = bp.b_un.b_addr % PAGE_SIZE;
    const count = Math.ceil((offset + bp.b_bcount) / PAGE_SIZE);
    return Array.from({ length: count }, (_, i) => {
      const page = bufPage(k, bp, Math.max(0, i * PAGE_SIZE - offset));
      if (page === null)
        throw new KernelBug('MAPIN-02', `page ${i} of the buf is not there: it is not locked`, where);
      return page;
    });
  }

  function mapout(bp: Buf): void {
    if ((bp.b_flags & B_REMAPPED) === 0) return;
    const offset = bp.b_un.b_addr % PAGE_SIZE;
    if (k.kas.unmap(bp.b_un.b_addr - offset) === null)
      throw new KernelBug('MAPIN-06', 'the mapping is not the one of bp_mapin()', 'bp_mapout');
    bp.b_un.b_addr = offset;
    bp.b_flags &= ~B_REMAPPED;
  }

  /** Keeps the result until somebody takes it. */
  function post(bp: Buf): void {
    bp.ended = true;
    bp.endResid = bp.resid;
    bp.endCount = bp.b_bcount;
    bp.endError = geterror(bp);
    bp.b_io?.up();
  }

  /** BIO-04: the result is that of biodone(): the driver has not touched the buf since. */
  function takeResult(bp: Buf): void {
    if (!bp.ended) return;
    bp.ended = false;
    const same = bp.resid === bp.endResid && bp.b_bcount === bp.endCount && geterror(bp) === bp.endError;
    if (!same) throw new KernelBug('BIO-04', 'the buf was changed after its biodone()', 'biowait');
  }

  /** The end of a transfer for which nobody waits: its pages are told, the header goes. */
  function release(bp: Buf): void {
    if ((bp.b_flags & B_PAGEIO) === 0)
      throw new KernelBug('BIO-05', 'B_ASYNC on a buf that is not of the buffer cache', 'biodone');
    bp.residSeen = true; // there is nobody who could look
    mapout(bp);
    for (const page of pagesOf(bp, 'biodone')) {
      if (geterror(bp) !== 0) page.set(PG_error);
      k.locks.unlock(page);
    }
    if (bp.allocated) free(bp);
    else finish(bp, 'biodone', 'BIO-05');
  }

  /** Where the memory of a clone is: `off` bytes into that of the original. */
  function advance(clone: Buf, bp: Buf, off: number): void {
    const pages = Math.floor(((bp.b_un.b_addr % PAGE_SIZE) + off) / PAGE_SIZE);
    clone.b_un.b_addr = bp.b_un.b_addr + off;
    clone.b_shadow = bp.b_shadow?.plus(pages) ?? null;
    if ((bp.b_flags & B_REMAPPED) !== 0) {
      clone.b_proc = null;
      clone.b_flags &= ~B_PAGEIO; // its address is the kernel's now
    } else if ((bp.b_flags & B_PAGEIO) !== 0) {
      clone.b_pages = bp.b_pages?.plus(pages) ?? null;
      clone.b_un.b_addr %= PAGE_SIZE;
    }
  }

  return {
    /**
     * A new header for a transfer of the driver's own, initialised as by bioinit().
     * @param sleepflag KM_SLEEP, or KM_NOSLEEP: null when there is no memory, and allowed in any context
     */
    *getrbuf(sleepflag: number): Sleeps<Buf | null> {
      return yield* get(sleepflag);
    },

    /**
     * Frees a header that getrbuf(), bioclone() or ddi_umem_iosetup() made. Any context. What hangs on it (mappings,
     * locked pages) is the caller's to undo first.
     * @throws KernelBug `BUF-04` when it was freed already, is mapped in or is bound; `BUF-06` after biofini()
     */
    freerbuf(bp: Buf): void {
      free(bp);
    },

    /** Prepares the memory of a header: `bioinit(new Buf())`. Any context. @throws KernelBug `BUF-02` when it is in use */
    bioinit(bp: Buf): void {
      if (bp.state === 'ready') throw new KernelBug('BUF-02', 'the header is in use', 'bioinit');
      if (bp.state === 'free') throw new KernelBug('BUF-02', 'the header was freed', 'bioinit');
      initialise(bp);
    },

    /** The end of a header that bioinit() prepared. Any context. @throws KernelBug `BUF-06` when it is not in use */
    biofini(bp: Buf): void {
      finish(bp, 'biofini', 'BUF-06');
    },

    /** Makes a header as new, for another transfer. Any context. @throws KernelBug `BUF-03` while it is bound */
    bioreset(bp: Buf): void {
      finish(bp, 'bioreset', 'BUF-03');
      initialise(bp);
    },

    /** Bytes of a header. Any context. */
    biosize(): number {
      return BUF_BYTES;
    },

    /**
     * A buf for a part of another one's transfer. The original must stay until its clones have ended. Any context with
     * KM_NOSLEEP.
     * @param off first byte, in the original
     * @param bp_mem a header to be used again; null: a new one
     * @param sleep KM_SLEEP, or KM_NOSLEEP: null when there is no memory
     */
    *bioclone(
      bp: Buf,
      off: number,
      len: number,
      dev: number,
      blkno: number,
      iodone: Iodone | null,
      bp_mem: Buf | null,
      sleep: number,
    ): Sleeps<Buf | null> {
      mustReady(bp, 'bioclone');
      let clone = bp_mem;
      if (clone === null) {
        clone = yield* get(sleep);
        if (clone === null) return null;
      } else {
        finish(clone, 'bioclone', 'BUF-03');
        initialise(clone);
      }
      clone.b_flags = (bp.b_flags & CLONED_FLAGS) | B_BUSY;
      clone.b_bcount = len;
      clone.b_lblkno = blkno;
      clone.b_edev = dev;
      clone.b_iodone = iodone;
      clone.b_proc = bp.b_proc;
      clone.b_file = bp.b_file;
      clone.b_offset = bp.b_offset;
      advance(clone, bp, off);
      return clone;
    },

    /**
     * The transfer has ended; b_resid and the error are set. Calls b_iodone if there is one and does no more; else marks
     * the buf as done and lets one biowait() go. The driver must not touch the buf afterwards.
     * @throws KernelBug `BIO-03` when it had ended before, `BIO-05` for B_ASYNC on a buf of the driver's own, `BIO-11` in
     *   a high-level interrupt
     */
    biodone(bp: Buf): void {
      mustReady(bp, 'biodone');
      if (k.inHighLevel) throw new KernelBug('BIO-11', 'called in a high-level interrupt', 'biodone');
      bp.b_flags &= ~B_STARTED;
      bp.residSeen = bp.resid === 0;
      if (bp.b_iodone !== null) {
        if (k.cpu.preemptCount > 0) {
          const what = 'called with a mutex held, which b_iodone may want';
          k.warnings.warn('INTR-04', what, k.cpu.spinning);
        }
        bp.b_iodone(bp);
        return;
      }
      if ((bp.b_flags & B_DONE) !== 0) throw new KernelBug('BIO-03', 'the transfer had ended', 'biodone');
      bp.b_flags |= B_DONE;
      if ((bp.b_flags & B_ASYNC) !== 0) release(bp);
      else post(bp);
    },

    /**
     * Waits for the end of the transfer; a buf that is mapped in is mapped out. Each end lets one wait go. User and
     * kernel context.
     * @returns geterror()
     * @throws KernelBug `BIO-04` when b_resid, b_bcount or the error was changed after biodone()
     */
    *biowait(bp: Buf): Sleeps<number> {
      mustReady(bp, 'biowait');
      k.mightSleep('biowait');
      if (bp.b_io !== null && !bp.b_io.tryDown()) yield bp.b_io.park();
      takeResult(bp);
      if ((bp.b_flags & B_ASYNC) === 0) mapout(bp);
      return geterror(bp);
    },

    /** Sets the error, or takes it back with 0. Any context. @throws KernelBug `BIO-08` for a negative one */
    bioerror(bp: Buf, error: number): void {
      mustReady(bp, 'bioerror');
      if (error < 0) throw new KernelBug('BIO-08', `errno ${error}`, 'bioerror');
      if (error !== 0) bp.b_flags |= B_ERROR;
      else bp.b_flags &= ~B_ERROR;
      bp.b_error = error;
    },

    /** The error of the transfer: 0, or EIO when nobody said which. Any context. */
    geterror(bp: Buf): number {
      mustReady(bp, 'geterror');
      return geterror(bp);
    },

    /**
     * Gives the memory of a buf an address of the kernel, in b_un.b_addr; nothing for a buf that has one. The pages must
     * be locked. User and kernel context.
     * @throws KernelBug `MAPIN-04` for B_PHYS with B_PAGEIO, `MAPIN-02` when a page is not there
     */
    *bp_mapin(bp: Buf): Sleeps<void> {
      mustReady(bp, 'bp_mapin');
      const kind = bp.b_flags & (B_PHYS | B_PAGEIO);
      if (kind === (B_PHYS | B_PAGEIO))
        throw new KernelBug('MAPIN-04', 'B_PHYS and B_PAGEIO together', 'bp_mapin');
      if (kind === 0 || (bp.b_flags & B_REMAPPED) !== 0) return;
      if (kind === B_PHYS && (bp.b_proc === null || bp.b_proc === k.p0)) return;
      k.mightSleep('bp_mapin');
      bp.b_un.b_addr = k.kas.map(pagesOf(bp, 'bp_mapin')) + (bp.b_un.b_addr % PAGE_SIZE);
      bp.b_flags |= B_REMAPPED;
    },

    /**
     * Undoes bp_mapin(), however often it was called; leaves only the offset in the page in b_un.b_addr. Any context.
     */
    bp_mapout(bp: Buf): void {
      mustReady(bp, 'bp_mapout');
      mapout(bp);
    },
  };
}
