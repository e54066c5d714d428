// Who may call what, from where: the table of contexts, each of its rows in each of its columns.

import { type AddressSpace, KernelBug, type Sleeps } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import {
  B_READ,
  bootSolaris,
  DDI_DMA_DONTWAIT,
  DDI_DMA_PARTIAL,
  DDI_DMA_READ,
  DDI_DMA_SLEEP,
  DDI_DMA_SYNC_FORCPU,
  DDI_INTR_CLAIMED,
  DDI_UMEM_NOSLEEP,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_WRITE,
  type DdiAccHandle,
  DdiDmaCookie,
  type DdiDmaHandle,
  type DdiSoftintHandle,
  DevInfo,
  KM_NOSLEEP,
  KM_SLEEP,
  Pointer,
  type SolarisApi,
  UIO_READ,
  Uio,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { ATTR } from './dma-rig.ts';
import { type aBuf, assertBug, BASE, filled, inInterrupt, inThread, locked, must, setup } from './help.ts';

const test = suite('solaris contexts');

/** User, kernel thread, low-level and high-level interrupt. */
const COLUMNS = ['U', 'K', 'I', 'H'] as const;
type Column = (typeof COLUMNS)[number];

interface World {
  readonly solaris: SolarisApi;
  readonly dip: DevInfo;
  readonly handle: Pointer<DdiDmaHandle>;
  readonly soft: DdiSoftintHandle;
}

/** A kernel with a process's worth of things to call functions with. */
async function world(): Promise<World> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const solaris = bootSolaris(machine);
  const dip = new DevInfo(machine.addController({ kind: 'ahci' }), 'xx');
  dip.instance = 0;
  const hp = new Pointer<DdiSoftintHandle>();
  solaris.ddi_intr_add_softint(dip, hp, 1, () => DDI_INTR_CLAIMED, null);
  const handle = new Pointer<DdiDmaHandle>();
  inThread(solaris, () => solaris.ddi_dma_alloc_handle(dip, ATTR, DDI_DMA_SLEEP, null, handle));
  return { solaris, dip, handle, soft: must(hp.value) };
}

/** What a row calls; a generator is run to its end, and must not sleep where nobody may. */
type Call = () => unknown;

interface Row {
  /** Where it may be called. */
  readonly allowed: string;
  /** Prepares in a thread, and returns the call. */
  prepare(w: World, as: AddressSpace): Sleeps<Call>;
}

/** A call that needs nothing prepared. */
function simply(allowed: string, call: (w: World) => unknown): Row {
  return {
    allowed,
    *prepare(w) {
      return () => call(w);
    },
  };
}

/** A call with a buf that nobody uses. */
function withBuf(allowed: string, call: (w: World, bp: ReturnType<typeof aBuf>) => unknown): Row {
  return {
    allowed,
    *prepare(w) {
      const bp = must(yield* w.solaris.getrbuf(KM_SLEEP));
      return () => call(w, bp);
    },
  };
}

/** A call with a handle that is bound to a page of the process. */
function withBinding(allowed: string, call: (w: World, h: DdiDmaHandle) => unknown): Row {
  return {
    allowed,
    *prepare(w, as) {
      yield* filled(w.solaris, as, 2);
      const bp = yield* setup(w.solaris, yield* locked(w.solaris, 2), 0, 8192);
      yield* bind(w, bp, DDI_DMA_DONTWAIT);
      return () => call(w, must(w.handle.value));
    },
  };
}

function bind({ solaris, handle }: World, bp: ReturnType<typeof aBuf>, waitfp: 0 | 1): Sleeps<number> {
  const flags = DDI_DMA_READ | DDI_DMA_PARTIAL;
  return solaris.ddi_dma_buf_bind_handle(must(handle.value), bp, flags, waitfp, null, null, null);
}

/** A call with locked memory of the process. */
function withCookie(
  allowed: string,
  call: (w: World, cookie: NonNullable<Parameters<SolarisApi['ddi_umem_unlock']>[0]>) => unknown,
): Row {
  return {
    allowed,
    *prepare(w, as) {
      yield* filled(w.solaris, as, 1);
      const cookie = yield* locked(w.solaris, 1);
      return () => call(w, cookie);
    },
  };
}

const uio = (): Uio => new Uio({ iov: [{ iov_base: BASE, iov_len: 4 }] });
const n = (): Pointer<number> => new Pointer<number>();

/** The statement's table, with those that go with its rows. */
const TABLE: Readonly<Record<string, Row>> = {
  ddi_umem_lock: {
    allowed: 'U',
    *prepare({ solaris }, as) {
      yield* filled(solaris, as, 1);
      return () => solaris.ddi_umem_lock(BASE, 4096, DDI_UMEMLOCK_WRITE, new Pointer());
    },
  },
  physio: simply('U', ({ solaris }) =>
    solaris.physio(() => 0, null, 0, B_READ, solaris.minphys, new Uio({ iov: [] })),
  ),
  biowait: withBuf('UK', ({ solaris }, bp) => {
    solaris.kernel.cpu.interrupt('done', 5, () => solaris.biodone(bp));
    return solaris.biowait(bp);
  }),
  bp_mapin: {
    allowed: 'UK',
    *prepare({ solaris }, as) {
      yield* filled(solaris, as, 1);
      const bp = yield* setup(solaris, yield* locked(solaris, 1), 0, 4096);
      return () => solaris.bp_mapin(bp);
    },
  },
  uiomove: {
    allowed: 'UK',
    *prepare({ solaris }, as) {
      yield* filled(solaris, as, 1);
      return () => solaris.uiomove(new Uint8Array(4), 4, UIO_READ, uio());
    },
  },
  ddi_umem_unlock: withCookie('UKI', ({ solaris }, cookie) => solaris.ddi_umem_unlock(cookie)),
  biodone: withBuf('UKI', ({ solaris }, bp) => solaris.biodone(bp)),
  bioerror: withBuf('UKI', ({ solaris }, bp) => solaris.bioerror(bp, 5)),
  geterror: withBuf('UKI', ({ solaris }, bp) => solaris.geterror(bp)),
  freerbuf: withBuf('UKI', ({ solaris }, bp) => solaris.freerbuf(bp)),
  'getrbuf(NOSLEEP)': simply('UKI', ({ solaris }) => solaris.getrbuf(KM_NOSLEEP)),
  'getrbuf(SLEEP)': simply('UK', ({ solaris }) => solaris.getrbuf(KM_SLEEP)),
  'ddi_umem_iosetup(NOSLEEP)': withCookie('UKI', ({ solaris }, cookie) =>
    solaris.ddi_umem_iosetup(cookie, 0, 512, B_READ, 0, 0, null, DDI_UMEM_NOSLEEP),
  ),
  'ddi_umem_iosetup(SLEEP)': withCookie('UK', ({ solaris }, cookie) =>
    solaris.ddi_umem_iosetup(cookie, 0, 512, B_READ, 0, 0, null, DDI_UMEM_SLEEP),
  ),
  'ddi_umem_alloc(NOSLEEP)': simply('UKI', ({ solaris }) =>
    solaris.ddi_umem_alloc(4096, DDI_UMEM_NOSLEEP, new Pointer()),
  ),
  'ddi_umem_alloc(SLEEP)': simply('UK', ({ solaris }) =>
    solaris.ddi_umem_alloc(4096, DDI_UMEM_SLEEP, new Pointer()),
  ),
  'bioclone(NOSLEEP)': withBuf('UKI', ({ solaris }, bp) =>
    solaris.bioclone(bp, 0, 0, 0, 0, null, null, KM_NOSLEEP),
  ),
  'bioclone(SLEEP)': withBuf('UK', ({ solaris }, bp) =>
    solaris.bioclone(bp, 0, 0, 0, 0, null, null, KM_SLEEP),
  ),
  ddi_dma_alloc_handle: simply('UKI', ({ solaris, dip }) =>
    solaris.ddi_dma_alloc_handle(dip, ATTR, DDI_DMA_DONTWAIT, null, new Pointer()),
  ),
  'ddi_dma_alloc_handle(SLEEP)': simply('UK', ({ solaris, dip }) =>
    solaris.ddi_dma_alloc_handle(dip, ATTR, DDI_DMA_SLEEP, null, new Pointer()),
  ),
  ddi_dma_buf_bind_handle: withBuf('UKI', (w, bp) => bind(w, bp, DDI_DMA_DONTWAIT)),
  'ddi_dma_buf_bind_handle(SLEEP)': withBuf('UK', (w, bp) => bind(w, bp, DDI_DMA_SLEEP)),
  ddi_dma_numwin: withBinding('UKI', ({ solaris }, h) => solaris.ddi_dma_numwin(h, n())),
  ddi_dma_getwin: withBinding('UKI', ({ solaris }, h) =>
    solaris.ddi_dma_getwin(h, 0, n(), n(), new DdiDmaCookie(), n()),
  ),
  ddi_dma_ncookies: withBinding('UKI', ({ solaris }, h) => solaris.ddi_dma_ncookies(h)),
  ddi_dma_sync: withBinding('UKI', ({ solaris }, h) => solaris.ddi_dma_sync(h, 0, 0, DDI_DMA_SYNC_FORCPU)),
  ddi_dma_unbind_handle: withBinding('UKI', ({ solaris }, h) => solaris.ddi_dma_unbind_handle(h)),
  ddi_dma_free_handle: simply('UKI', ({ solaris, handle }) => solaris.ddi_dma_free_handle(handle)),
  ddi_dma_mem_free: {
    allowed: 'UKI',
    *prepare({ solaris, handle }) {
      const acc = new Pointer<DdiAccHandle>();
      const h = must(handle.value);
      yield* solaris.ddi_dma_mem_alloc(h, 64, null, 0, DDI_DMA_SLEEP, null, n(), n(), acc);
      return () => solaris.ddi_dma_mem_free(acc);
    },
  },
  ddi_intr_trigger_softint: simply('UKIH', ({ solaris, soft }) =>
    solaris.ddi_intr_trigger_softint(soft, null),
  ),
  ddi_trigger_softintr: simply('UKIH', ({ solaris, soft }) => solaris.ddi_trigger_softintr(soft)),
  'ddi_get32, ddi_put32': {
    allowed: 'UKIH',
    *prepare({ solaris, dip }) {
      const [addrp, acc] = [n(), new Pointer<DdiAccHandle>()];
      solaris.ddi_regs_map_setup(dip, 0, addrp, 0, 0, null, acc);
      const [addr, h] = [must(addrp.value), must(acc.value)];
      return () => solaris.ddi_put32(h, addr, solaris.ddi_get32(h, addr));
    },
  },
  drv_usecwait: simply('UKIH', ({ solaris }) => solaris.drv_usecwait(1)),
  ddi_get_instance: simply('UKIH', ({ solaris, dip }) => solaris.ddi_get_instance(dip)),
  timeout: simply('UKI', ({ solaris }) => solaris.timeout(() => undefined, null, 1)),
  delay: simply('UK', ({ solaris }) => solaris.delay(1)),
};

/** True for what a function returns that may sleep. */
function isSleeping(value: unknown): value is Sleeps<unknown> {
  return typeof (value as { next?: unknown } | null)?.next === 'function';
}

/** Calls it where the column says. */
function* callIn({ solaris }: World, column: Column, call: Call): Sleeps<void> {
  const { scheduler } = solaris.kernel;
  const atOnce = (): void => {
    const result = call();
    if (isSleeping(result)) scheduler.atomic(result);
  };
  if (column === 'I') inInterrupt(solaris, atOnce);
  else if (column === 'H') inInterrupt(solaris, atOnce, 11);
  else if (column === 'U') yield* run(call);
  else yield* scheduler.join(scheduler.spawn('thread', () => run(call), { kthread: true }));
}

function* run(call: Call): Sleeps<void> {
  const result = call();
  if (isSleeping(result)) yield* result;
}

/** The rule that is broken by calling it there; empty: none. */
function verdict(w: World, column: Column, { prepare }: Row): string {
  const task = w.solaris.kernel.spawnProcess('user', function* (_proc, as) {
    yield* callIn(w, column, yield* prepare(w, as));
    done = true;
  });
  let done = false;
  try {
    w.solaris.kernel.scheduler.run({ until: task, blocked: 'return' });
  } catch (error) {
    if (error instanceof KernelBug) return error.rule;
    throw error;
  }
  return done ? '' : 'did not return';
}

/** What says so in a column where a function is not allowed. */
const RULES: Readonly<Record<Column, RegExp>> = {
  U: /^$/,
  K: /^ctx-user$|^ctx-process$|^PHYS-/,
  I: /^ctx-sleep$|^ctx-process$/,
  H: /^INTR-02$|^BIO-11$|^UUNLOCK-04$/,
};

for (const [name, row] of Object.entries(TABLE)) {
  test(`INTR-01 INTR-02 BIO-07 ${name} may be called in ${[...row.allowed].join(', ')}`, async () => {
    for (const column of COLUMNS) {
      const rule = verdict(await world(), column, row);
      if (row.allowed.includes(column)) assert.is(rule, '', `${name} in ${column}`);
      else assert.match(rule, RULES[column], `${name} in ${column}`);
    }
  });
}

test('INTR-02 every function but those few throws in a high-level interrupt, and says its name', async () => {
  const { solaris } = await world();
  const quiet: string[] = [];
  for (const [name, value] of Object.entries(solaris)) {
    if (typeof value !== 'function') continue;
    const call = value as unknown as () => unknown;
    try {
      inInterrupt(solaris, call, 11);
      quiet.push(name);
    } catch (error) {
      if (!(error instanceof KernelBug && error.rule === 'INTR-02')) quiet.push(name);
      else assert.is(error.where, name);
    }
  }
  const registers = quiet.filter((name) => /(?:get|put)(?:8|16|32|64)$/.test(name));
  assert.is(registers.length, 22);
  assert.equal(quiet.filter((name) => !registers.includes(name)).sort(), [
    'anocancel',
    'biodone',
    'ddi_driver_name',
    'ddi_get_driver_private',
    'ddi_get_instance',
    'ddi_get_lbolt',
    'ddi_get_soft_state',
    'ddi_intr_get_hilevel_pri',
    'ddi_intr_trigger_softint',
    'ddi_trigger_softintr',
    'ddi_umem_unlock',
    'drv_hztousec',
    'drv_usectohz',
    'drv_usecwait',
    'mutex_enter',
    'mutex_exit',
    'mutex_owned',
    'mutex_tryenter',
  ]);
});

test('INTR-02 what runs at level 10, or below what is held off, is no high-level interrupt', async () => {
  const { solaris } = await world();
  const { cpu } = solaris.kernel;
  inInterrupt(solaris, () => solaris.ddi_umem_free(null), 10);
  cpu.mask(12);
  inInterrupt(solaris, () => solaris.ddi_umem_free(null), 5);
  solaris.ddi_umem_free(null);
  cpu.unmask(12);
  assertBug('INTR-02', () => inInterrupt(solaris, () => solaris.ddi_umem_free(null), 11));
});
