// Memory with a cookie: the kernel's own (ddi_umem_alloc(9F)), or a process's that is locked (ddi_umem_lock(9F)), and
// the transfers into it (ddi_umem_iosetup(9F)).

import {
  type AddressSpace,
  DEV_ZERO,
  KernelBug,
  PAGE_SIZE,
  type Sleeps,
  VM_MAYSHARE,
  VM_PFNMAP,
  Work,
} from '../kernel/index.ts';
import { S_READ, S_WRITE } from './as.ts';
import {
  B_BUSY,
  B_PHYS,
  B_READ,
  B_SHADOW,
  B_WRITE,
  type Buf,
  type Iodone,
  type PageListPtr,
} from './buf-struct.ts';
import { EFAULT, EINVAL, ENOMEM } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { boundForDma, takeKernelPages } from './kernel-pages.ts';
import { KM_NOSLEEP, KM_SLEEP } from './kmem.ts';
import { Pointer } from './pointer.ts';
import type { Proc } from './proc.ts';
import { chargeLocked, lockingUnlimited, refundLocked } from './rctl.ts';
import {
  DDI_UMEM_NOSLEEP,
  DDI_UMEM_PAGEABLE,
  DDI_UMEM_SLEEP,
  DDI_UMEM_TRASH,
  DDI_UMEMLOCK_LONGTERM,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  KMEM_NON_PAGEABLE,
  KMEM_PAGEABLE,
  UMEM_GONE,
  UMEM_LOCKED,
  UMEM_TRASH,
  type UmemCallbackOps,
  UmemCookie,
} from './umem-cookie.ts';

const COOKIE = 'umem_cookie';
/** Version of UmemCallbackOps. */
const CALLBACK_VERSION = 1;

export function createUmem(k: Solaris) {
  const { allocator } = k;

  // ---- memory of the kernel

  function* alloc(size: number, flags: number): Sleeps<UmemCookie | null> {
    const sleeps = (flags & DDI_UMEM_NOSLEEP) === 0;
    if (sleeps) k.mightSleep('ddi_umem_alloc');
    if ((flags & (DDI_UMEM_PAGEABLE | DDI_UMEM_TRASH)) === (DDI_UMEM_PAGEABLE | DDI_UMEM_TRASH))
      throw new KernelBug('UALLOC-06', 'DDI_UMEM_TRASH with DDI_UMEM_PAGEABLE', 'ddi_umem_alloc');
    if (!(size > 0)) return null;
    if (!(yield* k.kmem.kmem_take(COOKIE, sleeps ? KM_SLEEP : KM_NOSLEEP))) return null;
    const bytes = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
    if ((flags & DDI_UMEM_TRASH) !== 0) return new UmemCookie({ type: UMEM_TRASH, addr: 0, size: bytes });
    const pages = yield* takeKernelPages(k, bytes / PAGE_SIZE, sleeps, { zero: true, tag: 'ddi_umem' });
    if (pages === null) {
      k.kmem.kmem_give(COOKIE);
      return null;
    }
    const type = (flags & DDI_UMEM_PAGEABLE) !== 0 ? KMEM_PAGEABLE : KMEM_NON_PAGEABLE;
    return new UmemCookie({ type, addr: k.kas.map(pages), size: bytes, pages });
  }

  function free(cookie: UmemCookie): void {
    if (cookie.type === UMEM_GONE)
      throw new KernelBug('UFREE-03', 'the cookie was freed already', 'ddi_umem_free');
    if (cookie.type !== UMEM_TRASH) {
      if (boundForDma(k, cookie.addr, cookie.size))
        throw new KernelBug('UFREE-04', 'the memory is bound for DMA', 'ddi_umem_free');
      k.kas.unmap(cookie.addr);
      for (const page of cookie.pages) allocator.put(page);
    }
    destroy(cookie);
  }

  function destroy(cookie: UmemCookie): void {
    cookie.type = UMEM_GONE;
    k.kmem.kmem_give(COOKIE);
  }

  // ---- locked memory of a process

  function accessOf(flags: number): number {
    return (flags & DDI_UMEMLOCK_WRITE) !== 0 ? S_WRITE : S_READ;
  }

  /** 0 or EINVAL. */
  function checkLock(addr: number, len: number, flags: number, legal: number): number {
    if ((flags & ~legal) !== 0) return EINVAL;
    if ((flags & (DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE)) === 0) return EINVAL;
    return addr % PAGE_SIZE !== 0 || len % PAGE_SIZE !== 0 ? EINVAL : 0;
  }

  /** True when every mapping of a range may be locked for long: no shared file, no memory of a special kind. */
  function suitsLongterm(as: AddressSpace, addr: number, len: number): boolean {
    for (let vma = as.findVma(addr); vma !== null && vma.start < addr + len; vma = as.findVma(vma.end)) {
      const sharesFile = vma.file !== null && vma.file.name !== DEV_ZERO && (vma.flags & VM_MAYSHARE) !== 0;
      if (sharesFile || (vma.ops !== null && !vma.has(VM_PFNMAP))) return false;
    }
    return true;
  }

  function addressSpaceOf(proc: Proc, where: string): AddressSpace {
    if (proc.p_as === null)
      throw new KernelBug('ctx-user', 'needs a process: the kernel has no user memory', where);
    return proc.p_as;
  }

  /** Everything after the checks of the arguments. */
  function* lock(
    addr: number,
    len: number,
    flags: number,
    cookiep: Pointer<UmemCookie>,
    proc: Proc,
    where: string,
  ): Sleeps<number> {
    const as = addressSpaceOf(proc, where);
    yield* k.kmem.kmem_take(COOKIE, KM_SLEEP);
    const charged = !lockingUnlimited(proc);
    if (charged && !chargeLocked(proc, len)) {
      k.kmem.kmem_give(COOKIE);
      return ENOMEM;
    }
    const list = new Pointer<PageListPtr>();
    const rw = accessOf(flags);
    let error = yield* k.as.as_pagelock(as, list, addr, len, rw);
    if (error === 0 && (flags & DDI_UMEMLOCK_LONGTERM) !== 0 && !suitsLongterm(as, addr, len)) {
      k.as.as_pageunlock(as, list.value, addr, len, rw);
      error = EFAULT;
    }
    if (error !== 0) {
      if (charged) refundLocked(proc, len);
      k.kmem.kmem_give(COOKIE);
      return error;
    }
    const shadow = list.value;
    cookiep.value = new UmemCookie({ type: UMEM_LOCKED, addr, size: len, shadow, proc, flags, charged });
    return 0;
  }

  /** Lets the driver clean up when somebody wants to unmap or protect the range. */
  function addCallback(cookie: UmemCookie, as: AddressSpace, ops: UmemCallbackOps): void {
    const cleanup = ops.cbo_umem_lock_cleanup;
    if (cleanup === null) return;
    const run = function* (): Sleeps<void> {
      cookie.callback = null;
      cookie.cleaning = true;
      yield* cleanup(cookie);
      cookie.cleaning = false;
      if (cookie.type === UMEM_GONE) k.kmem.kmem_give(COOKIE);
    };
    cookie.callback = { start: cookie.addr, end: cookie.addr + cookie.size, run };
    as.holdCallbacks.push(cookie.callback);
  }

  /** Unlocks the pages, returns the charge and frees the cookie, unless the driver's cleanup still runs on it. */
  function finishUnlock(cookie: UmemCookie): void {
    const { proc, callback } = cookie;
    if (proc === null) throw new KernelBug('UUNLOCK-06', 'nobody locked it', 'ddi_umem_unlock');
    const as = addressSpaceOf(proc, 'ddi_umem_unlock');
    if (callback !== null) {
      as.holdCallbacks.splice(as.holdCallbacks.indexOf(callback), 1);
      cookie.callback = null;
    }
    k.as.as_pageunlock(as, cookie.shadow, cookie.addr, cookie.size, accessOf(cookie.flags));
    if (cookie.charged) refundLocked(proc, cookie.size);
    if (cookie.cleaning) cookie.type = UMEM_GONE;
    else destroy(cookie);
  }

  function unlock(cookie: UmemCookie): void {
    if (k.inHighLevel)
      throw new KernelBug('UUNLOCK-04', 'called in a high-level interrupt', 'ddi_umem_unlock');
    if (cookie.type !== UMEM_LOCKED || cookie.unlocked)
      throw new KernelBug('UUNLOCK-06', 'the cookie is none of locked memory', 'ddi_umem_unlock');
    cookie.unlocked = true;
    if (!k.cpu.inInterrupt) {
      finishUnlock(cookie);
      return;
    }
    const later = function* (): Sleeps<void> {
      finishUnlock(cookie);
    };
    k.umemUnlockQueue.queue(new Work('ddi_umem_unlock', later));
  }

  // ---- transfers

  /** True when a transfer of this range can be set up at all. */
  function admits(
    cookie: UmemCookie,
    off: number,
    len: number,
    direction: number,
    sleepflag: number,
  ): boolean {
    if (off < 0 || len < 0 || off + len > cookie.size || len > cookie.size) return false;
    if (direction !== B_READ && direction !== B_WRITE) return false;
    if (sleepflag !== DDI_UMEM_SLEEP && sleepflag !== DDI_UMEM_NOSLEEP) return false;
    return cookie.type === UMEM_LOCKED || cookie.type === KMEM_NON_PAGEABLE;
  }

  /** Says so when a transfer runs against what the memory was locked for; it is set up all the same. */
  function checkDirection(cookie: UmemCookie, direction: number): void {
    if (cookie.type !== UMEM_LOCKED) return;
    const needed = direction === B_READ ? DDI_UMEMLOCK_WRITE : DDI_UMEMLOCK_READ;
    if ((cookie.flags & needed) !== 0) return;
    const what =
      direction === B_READ
        ? 'B_READ into memory that was locked with DDI_UMEMLOCK_READ alone'
        : 'B_WRITE from memory that was locked with DDI_UMEMLOCK_WRITE alone';
    k.warnings.warn('IOSETUP-04', what, 'ddi_umem_iosetup');
  }

  return {
    /**
     * Memory of the kernel, in whole pages of zeros, that can be exported to users or used for transfers. Any context
     * with DDI_UMEM_NOSLEEP.
     * @param size bytes; rounded up to pages
     * @param flags DDI_UMEM_SLEEP or DDI_UMEM_NOSLEEP, with DDI_UMEM_PAGEABLE or DDI_UMEM_TRASH
     * @param cookiep is set to its cookie, to null on failure
     * @returns its address; null on failure, which DDI_UMEM_SLEEP allows for size 0 only, and for DDI_UMEM_TRASH
     */
    *ddi_umem_alloc(size: number, flags: number, cookiep: Pointer<UmemCookie>): Sleeps<number | null> {
      cookiep.value = null;
      const cookie = yield* alloc(size, flags);
      cookiep.value = cookie;
      return cookie === null || cookie.type === UMEM_TRASH ? null : cookie.addr;
    },

    /**
     * Frees what ddi_umem_alloc() returned; null is nothing, and a cookie of locked memory is unlocked. Any context.
     * @throws KernelBug `UFREE-03` when it was freed already, `UFREE-04` while it is bound for DMA
     */
    ddi_umem_free(cookie: UmemCookie | null): void {
      if (cookie === null) return;
      if (cookie.type === UMEM_LOCKED) unlock(cookie);
      else free(cookie);
    },

    /**
     * Locks memory of the current process. While it is locked, who would unmap or protect its mapping waits. User
     * context.
     * @param addr, len multiples of a page
     * @param flags DDI_UMEMLOCK_READ: it will be read (a write to the device); DDI_UMEMLOCK_WRITE: written
     * @param cookiep is set to the cookie, to null on failure
     * @returns 0, EINVAL, ENOMEM (over the limit of locked memory), EFAULT (no such memory), EACCES (not allowed), or the
     *   error of what is mapped there
     */
    *ddi_umem_lock(addr: number, len: number, flags: number, cookiep: Pointer<UmemCookie>): Sleeps<number> {
      cookiep.value = null;
      k.cpu.process('ddi_umem_lock');
      const error = checkLock(addr, len, flags, DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE);
      if (error !== 0) return error;
      return yield* lock(addr, len, flags, cookiep, k.curproc, 'ddi_umem_lock');
    },

    /**
     * Undoes ddi_umem_lock() and frees the cookie. In an interrupt a thread does it later, in the order of the calls.
     * Nobody looks whether transfers are still under way.
     * @throws KernelBug `UUNLOCK-06` for anything but a locked cookie, `UUNLOCK-04` in a high-level interrupt
     */
    ddi_umem_unlock(cookie: UmemCookie): void {
      unlock(cookie);
    },

    /**
     * ddi_umem_lock() of a process of choice, with a call-back: whoever wants to unmap or protect the range calls the
     * driver's cleanup once and then waits for the unlock. User or kernel context.
     * @param flags DDI_UMEMLOCK_LONGTERM, too: needs the call-back, and is refused (EFAULT) for files that are shared
     * @param ops_vector null: no call-back
     * @param procp null: the current process
     */
    *umem_lockmemory(
      addr: number,
      len: number,
      flags: number,
      cookiep: Pointer<UmemCookie>,
      ops_vector: UmemCallbackOps | null,
      procp: Proc | null,
    ): Sleeps<number> {
      cookiep.value = null;
      k.cpu.process('umem_lockmemory');
      const proc = procp ?? k.curproc;
      const error = checkLock(
        addr,
        len,
        flags,
        DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE | DDI_UMEMLOCK_LONGTERM,
      );
      if (error !== 0) return error;
      if (ops_vector !== null && ops_vector.cbo_umem_callback_version !== CALLBACK_VERSION) return EINVAL;
      const longterm = (flags & DDI_UMEMLOCK_LONGTERM) !== 0;
      if (longterm && (ops_vector === null || ops_vector.cbo_umem_lock_cleanup === null)) return EINVAL;
      const failed = yield* lock(addr, len, flags, cookiep, proc, 'umem_lockmemory');
      if (failed !== 0) return failed;
      if (ops_vector !== null && cookiep.value !== null)
        addCallback(cookiep.value, addressSpaceOf(proc, 'umem_lockmemory'), ops_vector);
      return 0;
    },

    /**
     * A buf for a transfer to or from memory with a cookie. Several can exist at once, and overlap; freerbuf() frees it.
     * @param off first byte, from the start of the cookie
     * @param direction B_READ: the device writes into the memory; or B_WRITE. It should fit what the memory was locked
     *   for
     * @param iodone called by biodone(); null: none
     * @param sleepflag DDI_UMEM_SLEEP, or DDI_UMEM_NOSLEEP, which any context may use
     * @returns null when the range or an argument is wrong, or with DDI_UMEM_NOSLEEP there is no memory
     * @throws KernelBug `UMEM-07` when the memory was unlocked or freed
     */
    *ddi_umem_iosetup(
      cookie: UmemCookie,
      off: number,
      len: number,
      direction: number,
      dev: number,
      blkno: number,
      iodone: Iodone | null,
      sleepflag: number,
    ): Sleeps<Buf | null> {
      if (cookie.type === UMEM_GONE || cookie.unlocked)
        throw new KernelBug('UMEM-07', 'the memory was unlocked or freed', 'ddi_umem_iosetup');
      if (!admits(cookie, off, len, direction, sleepflag)) return null;
      const bp = yield* k.buf.getrbuf(sleepflag === DDI_UMEM_SLEEP ? KM_SLEEP : KM_NOSLEEP);
      if (bp === null) return null;
      checkDirection(cookie, direction);
      bp.b_flags = B_BUSY | B_PHYS | direction;
      if (cookie.shadow !== null) {
        bp.b_flags |= B_SHADOW;
        bp.b_shadow = cookie.shadow.plus(Math.floor(off / PAGE_SIZE));
      }
      bp.b_proc = cookie.proc;
      bp.b_edev = dev;
      bp.b_lblkno = blkno;
      bp.b_iodone = iodone;
      bp.b_bcount = len;
      bp.b_un.b_addr = cookie.addr + off;
      return bp;
    },
  };
}
