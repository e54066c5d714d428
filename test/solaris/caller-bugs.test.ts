// What a driver may do wrong: each mistake is detected, and named. Those in which a device is still at work (unbinding,
// stepping to another window, unlocking under it) are in dma-device.test.ts: the guard finds them.

import { type AddressSpace, KernelBug, PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import {
  B_ASYNC,
  B_READ,
  B_WRITE,
  type Buf,
  bootSolaris,
  DDI_DMA_DONTWAIT,
  DDI_DMA_READ,
  DDI_DMA_SLEEP,
  DDI_DMA_WRITE,
  DDI_PSEUDO,
  DDI_SUCCESS,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  DdiDmaCookie,
  type DdiDmaHandle,
  DevInfo,
  KM_SLEEP,
  Pointer,
  S_IFBLK,
  type SolarisApi,
  Uio,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { attr } from './dma-rig.ts';
import { BASE, filled, inInterrupt, locked, map, must, setup } from './help.ts';

const test = suite('solaris caller bugs');

interface World {
  readonly solaris: SolarisApi;
  readonly as: AddressSpace;
  readonly dip: DevInfo;
}

/** Locks two pages that are there. */
function* memory({ solaris, as }: World, flags = DDI_UMEMLOCK_WRITE): Sleeps<UmemCookie> {
  yield* filled(solaris, as, 2);
  return yield* locked(solaris, 2, flags);
}

function* handle({ solaris, dip }: World, limits: Record<string, number> = {}): Sleeps<DdiDmaHandle> {
  const handlep = new Pointer<DdiDmaHandle>();
  yield* solaris.ddi_dma_alloc_handle(dip, attr(limits), DDI_DMA_SLEEP, null, handlep);
  return must(handlep.value);
}

/** Binds a buf; null: the memory of the kernel at `kaddr`. */
function* bind(
  w: World,
  bp: Buf,
  flags = DDI_DMA_READ,
  limits: Record<string, number> = {},
): Sleeps<DdiDmaHandle> {
  const h = yield* handle(w, limits);
  const { ddi_dma_buf_bind_handle } = w.solaris;
  yield* ddi_dma_buf_bind_handle(h, bp, flags, DDI_DMA_DONTWAIT, null, new DdiDmaCookie(), new Pointer());
  return h;
}

/** A device whose driver keeps every buf. */
function* keeper({ solaris, dip }: World): Sleeps<number> {
  const drv_dev_ops = {
    devo_attach: (one: DevInfo) => solaris.ddi_create_minor_node(one, 'a', S_IFBLK, 0, DDI_PSEUDO, 0),
    devo_cb_ops: { cb_strategy: () => 0 },
  };
  solaris.mod_install({ drv_name: 'xx', drv_dev_ops });
  assert.is(yield* solaris.devi_attach(dip), DDI_SUCCESS);
  return must(dip.minors[0]).dev;
}

const MISTAKES: Readonly<Record<string, readonly [rule: string, mistake: (w: World) => Sleeps<void>]>> = {
  'UMEM-07 a transfer is set up after the memory was unlocked': [
    'UMEM-07',
    function* (w) {
      const cookie = yield* memory(w);
      w.solaris.ddi_umem_unlock(cookie);
      yield* setup(w.solaris, cookie, 0, 512);
    },
  ],
  'UMEM-07 the copy buffer is copied back into memory that was unlocked': [
    'UMEM-07',
    function* (w) {
      const cookie = yield* memory(w);
      const bp = yield* setup(w.solaris, cookie, 0, PAGE_SIZE);
      const h = yield* bind(w, bp, DDI_DMA_READ, {
        addr_hi: must(cookie.shadow?.page()).phys - 1,
      });
      w.solaris.ddi_umem_unlock(cookie);
      w.solaris.ddi_dma_unbind_handle(h);
    },
  ],
  'UUNLOCK-06 the memory is unlocked twice': [
    'UUNLOCK-06',
    function* (w) {
      const cookie = yield* memory(w);
      w.solaris.ddi_umem_unlock(cookie);
      w.solaris.ddi_umem_unlock(cookie);
    },
  ],
  'BUF-04 a buf is freed while it is bound': [
    'BUF-04',
    function* (w) {
      const bp = yield* setup(w.solaris, yield* memory(w), 0, 512);
      yield* bind(w, bp);
      w.solaris.freerbuf(bp);
    },
  ],
  'BUF-04 a buf is freed while its driver has it queued': [
    'BUF-04',
    function* (w) {
      const bp = yield* setup(w.solaris, yield* memory(w), 0, 512);
      bp.b_edev = yield* keeper(w);
      w.solaris.bdev_strategy(bp);
      w.solaris.freerbuf(bp);
    },
  ],
  'BUF-03 a buf is reset while its driver has it queued': [
    'BUF-03',
    function* (w) {
      const bp = yield* setup(w.solaris, yield* memory(w), 0, 512);
      bp.b_edev = yield* keeper(w);
      w.solaris.bdev_strategy(bp);
      w.solaris.bioreset(bp);
    },
  ],
  'BUF-04 a buf is freed while it is mapped in': [
    'BUF-04',
    function* (w) {
      const bp = yield* setup(w.solaris, yield* memory(w), 0, 512);
      yield* w.solaris.bp_mapin(bp);
      w.solaris.freerbuf(bp);
    },
  ],
  'BUF-04 a buf is freed twice': [
    'BUF-04',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      solaris.freerbuf(bp);
      solaris.freerbuf(bp);
    },
  ],
  'BIND-05 memory that is not locked is bound': [
    'BIND-05',
    function* (w) {
      yield* filled(w.solaris, w.as, 1);
      const bp = must(yield* w.solaris.getrbuf(KM_SLEEP));
      bp.b_flags |= B_READ;
      bp.b_proc = w.solaris.kernel.curproc;
      bp.b_un.b_addr = BASE;
      bp.b_bcount = 512;
      yield* bind(w, bp);
    },
  ],
  'BIND-05 memory that is not there is bound': [
    'BIND-05',
    function* (w) {
      yield* map(w.as, BASE, 1);
      const h = yield* handle(w);
      const { ddi_dma_addr_bind_handle } = w.solaris;
      yield* ddi_dma_addr_bind_handle(h, w.as, BASE, 512, DDI_DMA_READ, DDI_DMA_DONTWAIT, null, null, null);
    },
  ],
  'HDL-08 a handle is freed while it is bound': [
    'HDL-08',
    function* (w) {
      const handlep = new Pointer<DdiDmaHandle>();
      handlep.value = yield* bind(w, yield* setup(w.solaris, yield* memory(w), 0, 512));
      w.solaris.ddi_dma_free_handle(handlep);
    },
  ],
  'CKI-01 more cookies are asked for than there are': [
    'CKI-01',
    function* (w) {
      const h = yield* bind(w, yield* setup(w.solaris, yield* memory(w), 0, 512));
      w.solaris.ddi_dma_nextcookie(h, new DdiDmaCookie());
    },
  ],
  'BIO-03 a transfer ends twice': [
    'BIO-03',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      solaris.biodone(bp);
      solaris.biodone(bp);
    },
  ],
  'BIO-04 the driver sets b_resid after biodone()': [
    'BIO-04',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      solaris.biodone(bp);
      bp.b_resid = 512;
      yield* solaris.biowait(bp);
    },
  ],
  'BIO-04 the driver sets b_bcount after biodone()': [
    'BIO-04',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      solaris.biodone(bp);
      bp.b_bcount = 512;
      yield* solaris.biowait(bp);
    },
  ],
  'BIO-04 the driver sets the error after biodone(), of a buf that somebody waits for': [
    'BIO-04',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      solaris.timeout(
        () => {
          solaris.biodone(bp);
          solaris.bioerror(bp, 5);
        },
        null,
        1,
      );
      yield* solaris.biowait(bp);
    },
  ],
  'BIO-04 a buf is used that its own b_iodone has freed': [
    'buf-state',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      bp.b_iodone = () => {
        solaris.freerbuf(bp);
        return 0;
      };
      solaris.biodone(bp);
      solaris.bioerror(bp, 5);
    },
  ],
  'BIO-07 biowait in an interrupt': [
    'ctx-sleep',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      inInterrupt(solaris, () => solaris.kernel.scheduler.atomic(solaris.biowait(bp)));
    },
  ],
  'physio in an interrupt': [
    'ctx-process',
    function* ({ solaris }) {
      const uio = new Uio({ iov: [{ iov_base: BASE, iov_len: 512 }] });
      const { physio, minphys, kernel } = solaris;
      inInterrupt(solaris, () => kernel.scheduler.atomic(physio(() => 0, null, 0, B_READ, minphys, uio)));
    },
  ],
  'CB-01 DDI_DMA_SLEEP in an interrupt': [
    'ctx-sleep',
    function* (w) {
      inInterrupt(w.solaris, () => w.solaris.kernel.scheduler.atomic(handle(w)));
    },
  ],
  'BIO-05 B_ASYNC on a buf of the driver’s own': [
    'BIO-05',
    function* ({ solaris }) {
      const bp = must(yield* solaris.getrbuf(KM_SLEEP));
      bp.b_flags |= B_ASYNC;
      solaris.biodone(bp);
    },
  ],
  'IOSETUP-04 a read into memory that was locked for reading': [
    'IOSETUP-04',
    function* (w) {
      yield* setup(w.solaris, yield* memory(w, DDI_UMEMLOCK_READ), 0, 512, B_READ);
    },
  ],
  'BIND-03 a buf is bound in the other direction': [
    'BIND-03',
    function* (w) {
      yield* bind(
        w,
        yield* setup(w.solaris, yield* memory(w, DDI_UMEMLOCK_READ), 0, 512, B_WRITE),
        DDI_DMA_READ,
      );
    },
  ],
  'WIN-08 a request is no multiple of the granule': [
    'WIN-08',
    function* (w) {
      const bp = yield* setup(w.solaris, yield* memory(w), 0, 700);
      yield* bind(w, bp, DDI_DMA_READ, { granular: 512 });
    },
  ],
  'BIND-06 a buf is less aligned than the device wants': [
    'BIND-06',
    function* (w) {
      const bp = yield* setup(w.solaris, yield* memory(w), 2, 512);
      yield* bind(w, bp, DDI_DMA_READ, { align: 4 });
    },
  ],
  'UFREE-04 memory of the kernel is freed while a buf over it is bound': [
    'UFREE-04',
    function* (w) {
      const cookiep = new Pointer<UmemCookie>();
      yield* w.solaris.ddi_umem_alloc(8192, DDI_UMEM_SLEEP, cookiep);
      yield* bind(w, yield* setup(w.solaris, must(cookiep.value), 4096, 512));
      w.solaris.ddi_umem_free(cookiep.value);
    },
  ],
  'UFREE-04 memory of the kernel is freed while it is bound by its address': [
    'UFREE-04',
    function* (w) {
      const cookiep = new Pointer<UmemCookie>();
      const addr = must(yield* w.solaris.ddi_umem_alloc(8192, DDI_UMEM_SLEEP, cookiep));
      const { ddi_dma_addr_bind_handle: addr_bind } = w.solaris;
      const h = yield* handle(w);
      yield* addr_bind(h, null, addr + 8000, 100, DDI_DMA_WRITE, DDI_DMA_DONTWAIT, null, null, null);
      w.solaris.ddi_umem_free(cookiep.value);
    },
  ],
};

/** What is reported of a mistake: a bug that is thrown, or else a warning. */
async function report(mistake: (w: World) => Sleeps<void>): Promise<string[]> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const solaris = bootSolaris(machine);
  const dip = new DevInfo(machine.addController({ kind: 'ahci' }), 'xx');
  let through = false;
  const task = solaris.kernel.spawnProcess('user', function* (_proc, as) {
    yield* mistake({ solaris, as, dip });
    through = true;
  });
  try {
    solaris.kernel.scheduler.run({ until: task, blocked: 'return' });
  } catch (error) {
    if (error instanceof KernelBug) return [error.rule];
    throw error;
  }
  return [...(through ? [] : ['blocked']), ...solaris.kernel.warnings.all.map(({ rule }) => rule)];
}

for (const [name, [rule, mistake]] of Object.entries(MISTAKES)) {
  test(name, async () => {
    assert.equal(await report(mistake), [rule]);
  });
}

test('without a mistake nothing is reported', async () => {
  const rules = await report(function* (w) {
    const { solaris } = w;
    const cookie = yield* memory(w);
    const bp = yield* setup(solaris, cookie, 0, 1024);
    const h = yield* bind(w, bp, DDI_DMA_READ, { align: 4, granular: 512 });
    solaris.ddi_dma_unbind_handle(h);
    solaris.biodone(bp);
    yield* solaris.biowait(bp);
    solaris.bioerror(bp, 5); // the buf is its owner's again
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
    const cookiep = new Pointer<UmemCookie>();
    yield* solaris.ddi_umem_alloc(8192, DDI_UMEM_SLEEP, cookiep);
    solaris.ddi_umem_free(cookiep.value);
  });
  assert.equal(rules, []);
});
