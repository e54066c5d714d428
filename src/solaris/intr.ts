// Interrupts of devices and soft interrupts (ddi_intr_alloc(9F) … ddi_intr_add_softint(9F)), and their older forms
// (ddi_add_intr(9F), ddi_add_softintr(9F)).
//
// A handler runs in interrupt context, at the priority of its interrupt. Up to LOCK_LEVEL it may do what does not sleep;
// above, it may take mutexes of its own priority, look at registers and trigger a soft interrupt: see context.ts.
// Interrupts are the fixed ones of the controller's lines; messages are not offered to drivers here.

import {
  DEVICE_PRIORITY,
  type IrqAction,
  KernelBug,
  type SoftInterrupt,
  TOP_PRIORITY,
} from '../kernel/index.ts';
import type { DevInfo } from './dev-info.ts';
import { DDI_FAILURE, DDI_SUCCESS } from './dma-attr.ts';
import { LOCK_LEVEL, type Solaris } from './kernel.ts';
import type { Pointer } from './pointer.ts';

/** What a handler returns: the interrupt was its device's, or not. */
export const DDI_INTR_UNCLAIMED = 0;
export const DDI_INTR_CLAIMED = 1;

/** Types of interrupts. */
export const DDI_INTR_TYPE_FIXED = 0x1;
export const DDI_INTR_TYPE_MSI = 0x2;
export const DDI_INTR_TYPE_MSIX = 0x4;

/** Behaviour of ddi_intr_alloc(): fewer interrupts than asked for will do, or not. */
export const DDI_INTR_ALLOC_NORMAL = 0;
export const DDI_INTR_ALLOC_STRICT = 1;

/** Failures beside DDI_FAILURE. */
/** Not as many interrupts as were asked for. */
export const DDI_EAGAIN = -3;
export const DDI_EINVAL = -4;
/** The soft interrupt is pending already. */
export const DDI_EPENDING = -6;
export const DDI_INTR_NOTFOUND = 1;

/** Priorities of soft interrupts, all below those of devices. */
export const DDI_INTR_SOFTPRI_MIN = 1;
export const DDI_INTR_SOFTPRI_DEFAULT = 1;
export const DDI_INTR_SOFTPRI_MAX = 9;

/** Levels of ddi_add_softintr(). */
export const DDI_SOFTINT_FIXED = 0;
export const DDI_SOFTINT_LOW = 8;
export const DDI_SOFTINT_MED = 128;
export const DDI_SOFTINT_HIGH = 256;

/** Called in interrupt context: DDI_INTR_CLAIMED or DDI_INTR_UNCLAIMED. */
export type DdiIntrHandler<A, B> = (arg1: A, arg2: B) => number;

/** One interrupt of a device (ddi_intr_handle_t). */
export class DdiIntrHandle {
  readonly dip: DevInfo;
  readonly inum: number;
  readonly line: number;
  /** 1 to 15. */
  pri = DEVICE_PRIORITY;
  handler: (() => boolean) | null = null;
  action: IrqAction | null = null;
  freed = false;

  constructor(dip: DevInfo, inum: number, line: number) {
    this.dip = dip;
    this.inum = inum;
    this.line = line;
  }

  /** As messages call it. */
  get name(): string {
    return `interrupt ${this.inum} of ${this.dip.driver}`;
  }
}

/** A soft interrupt (ddi_softint_handle_t, ddi_softintr_t). */
export class DdiSoftintHandle {
  readonly dip: DevInfo;
  readonly pri: number;
  readonly soft: SoftInterrupt;
  /** Second argument of the handler: that of the last trigger. */
  arg2: unknown = null;
  removed = false;

  constructor(dip: DevInfo, pri: number, soft: SoftInterrupt) {
    this.dip = dip;
    this.pri = pri;
    this.soft = soft;
  }
}

export function createIntr(k: Solaris) {
  let softs = 0;

  function must(h: DdiIntrHandle, where: string): DdiIntrHandle {
    if (h.freed) throw new KernelBug('INTR-free', 'the interrupt was freed', where);
    return h;
  }

  /** INTR-03: true when it was the device's. */
  function claimed(result: number, name: string): boolean {
    if (result === DDI_INTR_CLAIMED) return true;
    if (result === DDI_INTR_UNCLAIMED) return false;
    throw new KernelBug('INTR-03', 'returned neither DDI_INTR_CLAIMED nor DDI_INTR_UNCLAIMED', name);
  }

  function enable(h: DdiIntrHandle): number {
    if (h.handler === null || h.action !== null) return DDI_EINVAL;
    h.action = k.interrupts.register(h.line, h.dip.driver, h.handler, h.pri);
    return DDI_SUCCESS;
  }

  function disable(h: DdiIntrHandle): number {
    if (h.action === null) return DDI_EINVAL;
    k.interrupts.free(h.action);
    h.action = null;
    return DDI_SUCCESS;
  }

  function make(dip: DevInfo, inum: number): DdiIntrHandle | null {
    const line = dip.controller.lines[inum];
    return line === undefined ? null : new DdiIntrHandle(dip, inum, line);
  }

  function addSoft(dip: DevInfo, pri: number, run: (soft: DdiSoftintHandle) => number): DdiSoftintHandle {
    const name = `soft interrupt ${softs++} of ${dip.driver}`;
    // All run below every device (INTR-03); what the driver says only tells one from the other.
    const soft = k.interrupts.softInterrupt(name, () => claimed(run(handle), name));
    const handle = new DdiSoftintHandle(dip, pri, soft);
    dip.interrupts.add(name);
    return handle;
  }

  function triggerSoft(handle: DdiSoftintHandle, where: string): boolean {
    if (handle.removed) throw new KernelBug('INTR-03', 'the soft interrupt was removed', where);
    return k.interrupts.trigger(handle.soft);
  }

  function removeSoft(handle: DdiSoftintHandle, where: string): void {
    if (handle.removed) throw new KernelBug('INTR-03', 'the soft interrupt was removed', where);
    handle.removed = true;
    k.interrupts.cancel(handle.soft);
    handle.dip.interrupts.delete(handle.soft.name);
  }

  return {
    /** Which types of interrupts the device has: DDI_INTR_TYPE_FIXED. User or kernel context. */
    ddi_intr_get_supported_types(_dip: DevInfo, typesp: Pointer<number>): number {
      typesp.value = DDI_INTR_TYPE_FIXED;
      return DDI_SUCCESS;
    },

    /** How many of a type it has: DDI_SUCCESS, or DDI_INTR_NOTFOUND with 0. User or kernel context. */
    ddi_intr_get_nintrs(dip: DevInfo, type: number, nintrsp: Pointer<number>): number {
      nintrsp.value = type === DDI_INTR_TYPE_FIXED ? dip.controller.lines.length : 0;
      return nintrsp.value > 0 ? DDI_SUCCESS : DDI_INTR_NOTFOUND;
    },

    /**
     * Allocates interrupts `inum` to `inum + count - 1` of the device. User or kernel context.
     * @param h_array gets their handles
     * @param actualp gets how many there are
     * @param behavior DDI_INTR_ALLOC_NORMAL, DDI_INTR_ALLOC_STRICT
     * @returns DDI_SUCCESS, DDI_INTR_NOTFOUND (not this type), DDI_EINVAL (no such numbers), DDI_EAGAIN (not as many, and
     *   STRICT)
     */
    ddi_intr_alloc(
      dip: DevInfo,
      h_array: DdiIntrHandle[],
      type: number,
      inum: number,
      count: number,
      actualp: Pointer<number>,
      behavior: number,
    ): number {
      k.mightSleep('ddi_intr_alloc');
      actualp.value = 0;
      if (type !== DDI_INTR_TYPE_FIXED) return DDI_INTR_NOTFOUND;
      const { length } = dip.controller.lines;
      if (inum < 0 || count < 1 || inum >= length) return DDI_EINVAL;
      if (inum + count > length && behavior === DDI_INTR_ALLOC_STRICT) return DDI_EAGAIN;
      for (let i = inum; i < Math.min(inum + count, length); i++) {
        const handle = make(dip, i);
        if (handle === null) break;
        h_array.push(handle);
        dip.interrupts.add(handle.name);
        actualp.value++;
      }
      return DDI_SUCCESS;
    },

    /**
     * Frees one. User or kernel context.
     * @returns DDI_SUCCESS, DDI_EINVAL while it has a handler
     * @throws KernelBug `INTR-free` when it was freed before
     */
    ddi_intr_free(h: DdiIntrHandle): number {
      k.mightSleep('ddi_intr_free');
      if (must(h, 'ddi_intr_free').handler !== null) return DDI_EINVAL;
      h.freed = true;
      h.dip.interrupts.delete(h.name);
      return DDI_SUCCESS;
    },

    /** Its priority: what mutex_init() of a mutex wants that the handler takes. User or kernel context. */
    ddi_intr_get_pri(h: DdiIntrHandle, prip: Pointer<number>): number {
      prip.value = must(h, 'ddi_intr_get_pri').pri;
      return DDI_SUCCESS;
    },

    /** Gives it another priority, 1 to 15: DDI_SUCCESS, or DDI_EINVAL when it has a handler. User or kernel context. */
    ddi_intr_set_pri(h: DdiIntrHandle, pri: number): number {
      if (must(h, 'ddi_intr_set_pri').handler !== null) return DDI_EINVAL;
      if (!(Number.isInteger(pri) && pri >= 1 && pri <= TOP_PRIORITY)) return DDI_EINVAL;
      h.pri = pri;
      return DDI_SUCCESS;
    },

    /** The lowest priority of high-level interrupts. Any context. */
    ddi_intr_get_hilevel_pri(): number {
      return LOCK_LEVEL + 1;
    },

    /**
     * Adds the handler; it is called once ddi_intr_enable() was. User or kernel context.
     * @returns DDI_SUCCESS, or DDI_EINVAL when there is one
     */
    ddi_intr_add_handler<A, B>(h: DdiIntrHandle, inthandler: DdiIntrHandler<A, B>, arg1: A, arg2: B): number {
      if (must(h, 'ddi_intr_add_handler').handler !== null) return DDI_EINVAL;
      h.handler = () => claimed(inthandler(arg1, arg2), h.name);
      return DDI_SUCCESS;
    },

    /** Takes the handler out: DDI_SUCCESS, or DDI_EINVAL: there is none, or it is enabled. User or kernel context. */
    ddi_intr_remove_handler(h: DdiIntrHandle): number {
      if (must(h, 'ddi_intr_remove_handler').handler === null || h.action !== null) return DDI_EINVAL;
      h.handler = null;
      return DDI_SUCCESS;
    },

    /** Lets interrupts come in: DDI_SUCCESS, or DDI_EINVAL: no handler, or they do. User or kernel context. */
    ddi_intr_enable(h: DdiIntrHandle): number {
      return enable(must(h, 'ddi_intr_enable'));
    },

    /** Holds them off: DDI_SUCCESS, or DDI_EINVAL when they are. No handler runs any more. User or kernel context. */
    ddi_intr_disable(h: DdiIntrHandle): number {
      return disable(must(h, 'ddi_intr_disable'));
    },

    // ---- soft interrupts

    /**
     * Adds a soft interrupt. It runs below all interrupts of devices. User or kernel context.
     * @param soft_pri DDI_INTR_SOFTPRI_MIN to _MAX
     * @param handler gets `arg1` and the argument of the trigger; returns DDI_INTR_CLAIMED or DDI_INTR_UNCLAIMED
     * @returns DDI_SUCCESS, DDI_EINVAL for another priority
     */
    ddi_intr_add_softint<A>(
      dip: DevInfo,
      hp: Pointer<DdiSoftintHandle>,
      soft_pri: number,
      handler: DdiIntrHandler<A, unknown>,
      arg1: A,
    ): number {
      if (!(soft_pri >= DDI_INTR_SOFTPRI_MIN && soft_pri <= DDI_INTR_SOFTPRI_MAX)) return DDI_EINVAL;
      hp.value = addSoft(dip, soft_pri, (soft) => handler(arg1, soft.arg2));
      return DDI_SUCCESS;
    },

    /**
     * Has the handler called soon, once, however often it is triggered before. Any context.
     * @param arg2 second argument of the handler
     * @returns DDI_SUCCESS, or DDI_EPENDING when it is pending already: `arg2` stays what it was
     * @throws KernelBug `INTR-03` when it was removed
     */
    ddi_intr_trigger_softint(handle: DdiSoftintHandle, arg2: unknown): number {
      if (!triggerSoft(handle, 'ddi_intr_trigger_softint')) return DDI_EPENDING;
      handle.arg2 = arg2;
      return DDI_SUCCESS;
    },

    /** Takes it away; what is pending is not called any more. User or kernel context. */
    ddi_intr_remove_softint(handle: DdiSoftintHandle): number {
      removeSoft(handle, 'ddi_intr_remove_softint');
      return DDI_SUCCESS;
    },

    // ---- older forms

    /** The iblock cookie of an interrupt, which is its priority: DDI_SUCCESS or DDI_INTR_NOTFOUND. */
    ddi_get_iblock_cookie(dip: DevInfo, inumber: number, iblock_cookiep: Pointer<number>): number {
      if (make(dip, inumber) === null) return DDI_INTR_NOTFOUND;
      iblock_cookiep.value = DEVICE_PRIORITY;
      return DDI_SUCCESS;
    },

    /** Whether an interrupt is a high-level one: they are not. */
    ddi_intr_hilevel(_dip: DevInfo, _inumber: number): number {
      return DEVICE_PRIORITY > LOCK_LEVEL ? 1 : 0;
    },

    /** Adds and enables a handler: DDI_SUCCESS, DDI_INTR_NOTFOUND. User or kernel context. */
    ddi_add_intr<A>(
      dip: DevInfo,
      inumber: number,
      iblock_cookiep: Pointer<number> | null,
      idevice_cookiep: Pointer<DdiIntrHandle>,
      int_handler: (int_handler_arg: A) => number,
      int_handler_arg: A,
    ): number {
      const h = make(dip, inumber);
      if (h === null) return DDI_INTR_NOTFOUND;
      h.handler = () => claimed(int_handler(int_handler_arg), h.name);
      dip.interrupts.add(h.name);
      if (iblock_cookiep !== null) iblock_cookiep.value = h.pri;
      idevice_cookiep.value = h;
      return enable(h);
    },

    /** Undoes ddi_add_intr(). User or kernel context. @throws KernelBug `INTR-free` when it was undone before */
    ddi_remove_intr(dip: DevInfo, _inumber: number, idevice_cookie: DdiIntrHandle): void {
      disable(must(idevice_cookie, 'ddi_remove_intr'));
      idevice_cookie.freed = true;
      dip.interrupts.delete(idevice_cookie.name);
    },

    /** Adds a soft interrupt: DDI_SUCCESS, DDI_FAILURE. User or kernel context. @param preference DDI_SOFTINT_… */
    ddi_add_softintr<A>(
      dip: DevInfo,
      preference: number,
      idp: Pointer<DdiSoftintHandle>,
      iblock_cookiep: Pointer<number> | null,
      int_handler: (int_handler_arg: A) => number,
      int_handler_arg: A,
    ): number {
      if (preference < DDI_SOFTINT_LOW || preference > DDI_SOFTINT_HIGH) return DDI_FAILURE;
      const handle = addSoft(dip, preference, () => int_handler(int_handler_arg));
      idp.value = handle;
      if (iblock_cookiep !== null) iblock_cookiep.value = handle.soft.priority;
      return DDI_SUCCESS;
    },

    /** Has it called soon, once. Any context. @throws KernelBug `INTR-03` when it was removed */
    ddi_trigger_softintr(id: DdiSoftintHandle): void {
      triggerSoft(id, 'ddi_trigger_softintr');
    },

    /** Takes it away. User or kernel context. */
    ddi_remove_softintr(id: DdiSoftintHandle): void {
      removeSoft(id, 'ddi_remove_softintr');
    },
  };
}
