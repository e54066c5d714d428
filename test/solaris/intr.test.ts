// Interrupts of a real controller, and soft interrupts (ddi_intr_alloc(9F), ddi_intr_add_softint(9F) and theirs).

import {
  CMD_BUS_ON,
  CONTROL_IRST,
  INTERRUPT_ANY,
  PORT_COMMAND,
  PORT_CONTROL,
  PORT_INTERRUPT,
} from '../../assembly/aha1542/regs.ts';
import { type Controller, createMachine } from '../../src/machine/index.ts';
import {
  bootSolaris,
  DDI_EAGAIN,
  DDI_EINVAL,
  DDI_EPENDING,
  DDI_FAILURE,
  DDI_INTR_ALLOC_NORMAL,
  DDI_INTR_ALLOC_STRICT,
  DDI_INTR_CLAIMED,
  DDI_INTR_NOTFOUND,
  DDI_INTR_SOFTPRI_MAX,
  DDI_INTR_SOFTPRI_MIN,
  DDI_INTR_TYPE_FIXED,
  DDI_INTR_TYPE_MSI,
  DDI_INTR_UNCLAIMED,
  DDI_SOFTINT_FIXED,
  DDI_SOFTINT_LOW,
  DDI_SOFTINT_MED,
  DDI_SUCCESS,
  type DdiIntrHandle,
  type DdiSoftintHandle,
  DevInfo,
  LOCK_LEVEL,
  Pointer,
  type SolarisApi,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, inThread, must } from './help.ts';

const test = suite('solaris interrupts');

interface Rig {
  readonly solaris: SolarisApi;
  readonly board: Controller;
  readonly dip: DevInfo;
}

async function boot(kind = 'aha1542'): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const board = machine.addController({ kind });
  return { solaris: bootSolaris(machine), board, dip: new DevInfo(board, 'xx') };
}

function alloc({ solaris }: Rig, dip: DevInfo): DdiIntrHandle {
  const handles: DdiIntrHandle[] = [];
  const { ddi_intr_alloc } = solaris;
  assert.is(ddi_intr_alloc(dip, handles, DDI_INTR_TYPE_FIXED, 0, 1, new Pointer(), 0), DDI_SUCCESS);
  return must(handles[0]);
}

/** Allocates, adds the handler and enables. */
function handle(r: Rig, handler: () => number, pri?: number, dip = r.dip): DdiIntrHandle {
  const h = alloc(r, dip);
  if (pri !== undefined) assert.is(r.solaris.ddi_intr_set_pri(h, pri), DDI_SUCCESS);
  assert.is(r.solaris.ddi_intr_add_handler(h, handler, null, null), DDI_SUCCESS);
  assert.is(r.solaris.ddi_intr_enable(h), DDI_SUCCESS);
  return h;
}

/** Has the board ask for attention when its command is done. */
function raise({ board }: Rig): void {
  for (const byte of [CMD_BUS_ON, 7]) board.write8(0, PORT_COMMAND, byte);
}

/** True when the board asked; it does no longer. */
function acknowledge({ board }: Rig): boolean {
  if ((board.read8(0, PORT_INTERRUPT) & INTERRUPT_ANY) === 0) return false;
  board.write8(0, PORT_CONTROL, CONTROL_IRST);
  return true;
}

/** Lets 10 ms pass. */
function settle({ solaris }: Rig): void {
  inThread(solaris, () => solaris.kernel.scheduler.delay(10_000_000));
}

function soft(r: Rig, handler: (arg1: string, arg2: unknown) => number, arg1 = ''): DdiSoftintHandle {
  const hp = new Pointer<DdiSoftintHandle>();
  assert.is(r.solaris.ddi_intr_add_softint(r.dip, hp, DDI_INTR_SOFTPRI_MIN, handler, arg1), DDI_SUCCESS);
  return must(hp.value);
}

test('interrupts are those of the controller’s lines', async () => {
  const r = await boot('piix4');
  const { solaris, dip } = r;
  const [types, count, actual] = [new Pointer<number>(), new Pointer<number>(), new Pointer<number>()];
  assert.is(solaris.ddi_intr_get_supported_types(dip, types), DDI_SUCCESS);
  assert.is(types.value, DDI_INTR_TYPE_FIXED);
  assert.is(solaris.ddi_intr_get_nintrs(dip, DDI_INTR_TYPE_FIXED, count), DDI_SUCCESS);
  assert.is(count.value, 2);
  assert.is(solaris.ddi_intr_get_nintrs(dip, DDI_INTR_TYPE_MSI, count), DDI_INTR_NOTFOUND);
  const handles: DdiIntrHandle[] = [];
  const take = (type: number, inum: number, wanted: number, behavior: number): number =>
    solaris.ddi_intr_alloc(dip, handles, type, inum, wanted, actual, behavior);
  assert.is(take(DDI_INTR_TYPE_MSI, 0, 1, DDI_INTR_ALLOC_NORMAL), DDI_INTR_NOTFOUND);
  assert.is(take(DDI_INTR_TYPE_FIXED, 2, 1, DDI_INTR_ALLOC_NORMAL), DDI_EINVAL);
  assert.is(take(DDI_INTR_TYPE_FIXED, 0, 0, DDI_INTR_ALLOC_NORMAL), DDI_EINVAL);
  assert.is(take(DDI_INTR_TYPE_FIXED, 0, 3, DDI_INTR_ALLOC_STRICT), DDI_EAGAIN);
  assert.equal([actual.value, handles.length, dip.interrupts.size], [0, 0, 0]);
  assert.is(take(DDI_INTR_TYPE_FIXED, 0, 3, DDI_INTR_ALLOC_NORMAL), DDI_SUCCESS);
  assert.equal([actual.value, handles.map(({ line }) => line)], [2, dip.controller.lines]);
  for (const h of handles) assert.is(solaris.ddi_intr_free(h), DDI_SUCCESS);
  assert.is(dip.interrupts.size, 0);
});

test('a handler runs from enable to disable, with its two arguments', async () => {
  const r = await boot();
  const { solaris } = r;
  const seen: string[] = [];
  const h = alloc(r, r.dip);
  assert.is(solaris.ddi_intr_enable(h), DDI_EINVAL, 'no handler');
  assert.is(solaris.ddi_intr_remove_handler(h), DDI_EINVAL);
  const handler = (one: string, two: number): number => {
    seen.push(`${one}${two}${solaris.kernel.cpu.interruptPriority}`);
    return acknowledge(r) ? DDI_INTR_CLAIMED : DDI_INTR_UNCLAIMED;
  };
  assert.is(solaris.ddi_intr_add_handler(h, handler, 'a', 2), DDI_SUCCESS);
  assert.is(solaris.ddi_intr_add_handler(h, handler, 'b', 2), DDI_EINVAL);
  raise(r);
  settle(r);
  assert.equal(seen, [], 'not enabled');
  assert.is(solaris.ddi_intr_enable(h), DDI_SUCCESS);
  assert.is(solaris.ddi_intr_enable(h), DDI_EINVAL);
  settle(r);
  assert.equal(seen, ['a25']);
  raise(r);
  settle(r);
  assert.equal(seen, ['a25', 'a25']);
  assert.is(solaris.ddi_intr_remove_handler(h), DDI_EINVAL, 'enabled');
  assert.is(solaris.ddi_intr_disable(h), DDI_SUCCESS);
  assert.is(solaris.ddi_intr_disable(h), DDI_EINVAL);
  raise(r);
  settle(r);
  assert.is(seen.length, 2);
  assert.is(solaris.ddi_intr_free(h), DDI_EINVAL, 'it has a handler');
  assert.is(solaris.ddi_intr_remove_handler(h), DDI_SUCCESS);
  assert.is(solaris.ddi_intr_free(h), DDI_SUCCESS);
  for (const name of ['ddi_intr_free', 'ddi_intr_enable', 'ddi_intr_disable'] as const)
    assert.is(assertBug('INTR-free', () => solaris[name](h)).where, name);
});

test('INTR-03 a line is shared: each handler says whether it was its device’s', async () => {
  const r = await boot();
  const seen: string[] = [];
  const other = new DevInfo(r.board, 'yy');
  handle(
    r,
    () => {
      seen.push('yy');
      return DDI_INTR_UNCLAIMED;
    },
    undefined,
    other,
  );
  handle(r, () => {
    seen.push('xx');
    return acknowledge(r) ? DDI_INTR_CLAIMED : DDI_INTR_UNCLAIMED;
  });
  raise(r);
  settle(r);
  assert.equal(seen, ['yy', 'xx']);
});

test('INTR-03 an interrupt that nobody claims is switched off in the end', async () => {
  const r = await boot();
  handle(r, () => DDI_INTR_UNCLAIMED);
  raise(r);
  settle(r);
  assert.equal(
    r.solaris.kernel.warnings.all.map(({ rule }) => rule),
    ['irq-unclaimed'],
  );
});

test('INTR-03 a handler returns one of the two codes', async () => {
  const r = await boot();
  handle(r, () => 7);
  raise(r);
  assert.match(assertBug('INTR-03', () => settle(r)).where, 'interrupt 0 of xx');
});

test('the priority is that of disks, or one that was set before the handler was added', async () => {
  const r = await boot();
  const { solaris } = r;
  const prip = new Pointer<number>();
  const h = alloc(r, r.dip);
  assert.is(solaris.ddi_intr_get_pri(h, prip), DDI_SUCCESS);
  assert.is(prip.value, 5);
  assert.ok(must(prip.value) < solaris.ddi_intr_get_hilevel_pri());
  for (const pri of [0, 16, 2.5]) assert.is(solaris.ddi_intr_set_pri(h, pri), DDI_EINVAL);
  assert.is(solaris.ddi_intr_set_pri(h, 12), DDI_SUCCESS);
  solaris.ddi_intr_get_pri(h, prip);
  assert.is(prip.value, 12);
  let level = 0;
  solaris.ddi_intr_add_handler(
    h,
    () => {
      level = solaris.kernel.cpu.interruptPriority;
      return acknowledge(r) ? DDI_INTR_CLAIMED : DDI_INTR_UNCLAIMED;
    },
    null,
    null,
  );
  assert.is(solaris.ddi_intr_set_pri(h, 5), DDI_EINVAL, 'it has a handler');
  solaris.ddi_intr_enable(h);
  raise(r);
  settle(r);
  assert.is(level, 12);
});

test('INTR-02 a high-level handler leaves the work to a soft interrupt, which runs below all devices', async () => {
  const r = await boot();
  const { solaris } = r;
  const seen: string[] = [];
  const work = soft(
    r,
    (arg1, arg2) => {
      seen.push(`soft ${arg1} ${arg2} ${solaris.kernel.cpu.interruptPriority}`);
      assert.is(solaris.ddi_get_instance(r.dip), 0);
      solaris.ddi_umem_free(null); // what the handler must not do
      return DDI_INTR_CLAIMED;
    },
    'one',
  );
  r.dip.instance = 0;
  handle(
    r,
    () => {
      if (!acknowledge(r)) return DDI_INTR_UNCLAIMED;
      assert.is(assertBug('INTR-02', () => solaris.ddi_umem_free(null)).where, 'ddi_umem_free');
      assert.is(solaris.ddi_intr_trigger_softint(work, 'two'), DDI_SUCCESS);
      seen.push('hard');
      return DDI_INTR_CLAIMED;
    },
    LOCK_LEVEL + 1,
  );
  raise(r);
  settle(r);
  assert.equal(seen, ['hard', 'soft one two 1']);
});

test('INTR-03 triggers of a soft interrupt that is pending collapse; in its own run it can be triggered anew', async () => {
  const r = await boot();
  const { solaris } = r;
  const args: unknown[] = [];
  const one = soft(r, (_arg1, arg2) => {
    args.push(arg2);
    if (args.length < 3)
      assert.is(solaris.ddi_intr_trigger_softint(one, `again ${args.length}`), DDI_SUCCESS);
    return DDI_INTR_CLAIMED;
  });
  assert.is(solaris.ddi_intr_trigger_softint(one, 'first'), DDI_SUCCESS);
  assert.is(solaris.ddi_intr_trigger_softint(one, 'second'), DDI_EPENDING);
  assert.equal(args, [], 'never in the trigger itself');
  settle(r);
  assert.equal(args, ['first', 'again 1', 'again 2']);
});

test('INTR-03 a soft interrupt waits until the device’s handler is through, and is gone when removed', async () => {
  const r = await boot();
  const { solaris } = r;
  const order: string[] = [];
  const one = soft(r, () => {
    order.push('soft');
    return DDI_INTR_UNCLAIMED;
  });
  handle(r, () => {
    if (!acknowledge(r)) return DDI_INTR_UNCLAIMED;
    order.push('begin');
    solaris.ddi_intr_trigger_softint(one, null);
    solaris.drv_usecwait(50); // interrupts are taken meanwhile
    order.push('end');
    return DDI_INTR_CLAIMED;
  });
  raise(r);
  settle(r);
  assert.equal(order, ['begin', 'end', 'soft']);
  solaris.ddi_intr_trigger_softint(one, null);
  assert.is(solaris.ddi_intr_remove_softint(one), DDI_SUCCESS);
  settle(r);
  assert.is(order.length, 3);
  assertBug('INTR-03', () => solaris.ddi_intr_trigger_softint(one, null));
  assertBug('INTR-03', () => solaris.ddi_intr_remove_softint(one));
  const hp = new Pointer<DdiSoftintHandle>();
  for (const pri of [DDI_INTR_SOFTPRI_MIN - 1, DDI_INTR_SOFTPRI_MAX + 1])
    assert.is(
      solaris.ddi_intr_add_softint(r.dip, hp, pri, () => 1, null),
      DDI_EINVAL,
    );
});

test('the older forms do the same', async () => {
  const r = await boot();
  const { solaris, dip } = r;
  const [iblock, idevice] = [new Pointer<number>(), new Pointer<DdiIntrHandle>()];
  const id = new Pointer<DdiSoftintHandle>();
  const seen: string[] = [];
  assert.is(solaris.ddi_get_iblock_cookie(dip, 0, iblock), DDI_SUCCESS);
  assert.is(iblock.value, 5);
  assert.is(solaris.ddi_get_iblock_cookie(dip, 1, iblock), DDI_INTR_NOTFOUND);
  assert.is(solaris.ddi_intr_hilevel(dip, 0), 0);
  const late = (arg: string): number => {
    seen.push(arg);
    return DDI_INTR_CLAIMED;
  };
  assert.is(solaris.ddi_add_softintr(dip, DDI_SOFTINT_FIXED, id, null, late, 'late'), DDI_FAILURE);
  assert.is(solaris.ddi_add_softintr(dip, DDI_SOFTINT_LOW, id, iblock, late, 'late'), DDI_SUCCESS);
  assert.is(iblock.value, 1);
  const softid = must(id.value);
  const early = (arg: string): number => {
    if (!acknowledge(r)) return DDI_INTR_UNCLAIMED;
    seen.push(arg);
    solaris.ddi_trigger_softintr(softid);
    solaris.ddi_trigger_softintr(softid);
    return DDI_INTR_CLAIMED;
  };
  assert.is(solaris.ddi_add_intr(dip, 1, iblock, idevice, early, 'early'), DDI_INTR_NOTFOUND);
  assert.is(solaris.ddi_add_intr(dip, 0, iblock, idevice, early, 'early'), DDI_SUCCESS);
  assert.is(iblock.value, 5);
  raise(r);
  settle(r);
  assert.equal(seen, ['early', 'late']);
  assert.is(dip.interrupts.size, 2);
  const h = must(idevice.value);
  solaris.ddi_remove_intr(dip, 0, h);
  solaris.ddi_remove_softintr(softid);
  assert.is(dip.interrupts.size, 0);
  raise(r);
  settle(r);
  assert.is(seen.length, 2);
  assertBug('INTR-free', () => solaris.ddi_remove_intr(dip, 0, h));
  assert.is(solaris.ddi_add_softintr(dip, DDI_SOFTINT_MED, id, null, late, 'late'), DDI_SUCCESS);
});
