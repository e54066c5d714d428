// Drivers, their devices and nodes: mod_install(9F), attach(9E), detach(9E), quiesce(9E), ddi_create_minor_node(9F).

import { createMachine } from '../../src/machine/index.ts';
import {
  bootSolaris,
  DDI_ATTACH,
  DDI_DETACH,
  DDI_FAILURE,
  DDI_INFO_DEVT2INSTANCE,
  DDI_INTR_ALLOC_NORMAL,
  DDI_INTR_TYPE_FIXED,
  DDI_PROBE_FAILURE,
  DDI_PSEUDO,
  DDI_SUCCESS,
  type DdiIntrHandle,
  DevInfo,
  type DevOps,
  EBUSY,
  EEXIST,
  EINVAL,
  ENOENT,
  ENXIO,
  FREAD,
  getmajor,
  getminor,
  makedevice,
  nodev,
  nulldev,
  Pointer,
  S_IFBLK,
  S_IFCHR,
  type SoftState,
  type SolarisApi,
  type SpecFile,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, inThread } from './help.ts';

const test = suite('solaris ddi');

interface Rig {
  readonly solaris: SolarisApi;
  readonly dips: readonly DevInfo[];
}

/** A kernel, and two devices of a driver `xx`. */
async function boot(): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const dips = [0, 1].map(() => new DevInfo(machine.addController({ kind: 'ahci' }), 'xx'));
  return { solaris: bootSolaris(machine), dips };
}

/** A driver that does nothing but what the test wants. */
function driver(ops: Partial<DevOps> = {}): DevOps {
  return { devo_attach: () => DDI_SUCCESS, devo_cb_ops: { cb_open: nulldev, cb_close: nulldev }, ...ops };
}

function install(solaris: SolarisApi, ops: Partial<DevOps> = {}) {
  const modldrv = { drv_name: 'xx', drv_dev_ops: driver(ops) };
  assert.is(solaris.mod_install(modldrv), 0);
  return modldrv;
}

const attach = (solaris: SolarisApi, dip: DevInfo): number =>
  inThread(solaris, () => solaris.devi_attach(dip));
const detach = (solaris: SolarisApi, dip: DevInfo): number =>
  inThread(solaris, () => solaris.devi_detach(dip));

test('a device number is a major and a minor number', () => {
  const dev = makedevice(300, 0x3ffff);
  assert.equal([getmajor(dev), getminor(dev)], [300, 0x3ffff]);
  assert.equal([getmajor(makedevice(0, 7)), getminor(makedevice(7, 0))], [0, 0]);
  assert.equal([nodev(), nulldev()], [ENXIO, 0]);
});

test('mod_install: one driver of a name, with a name; mod_remove: not while it has devices', async () => {
  const { solaris, dips } = await boot();
  const [dip] = dips as [DevInfo];
  assert.is(attach(solaris, dip), DDI_FAILURE, 'no driver yet');
  const ours = install(solaris, { devo_detach: () => DDI_SUCCESS });
  assert.is(solaris.mod_install({ ...ours }), EEXIST);
  assert.is(solaris.mod_install({ ...ours, drv_name: '' }), EINVAL);
  assert.is(solaris.mod_install({ ...ours, drv_name: 'a@b' }), EINVAL);
  assert.is(attach(solaris, dip), DDI_SUCCESS);
  assert.is(attach(solaris, dip), DDI_FAILURE, 'twice');
  assert.is(solaris.mod_remove(ours), EBUSY);
  assert.is(detach(solaris, dip), DDI_SUCCESS);
  assert.is(solaris.mod_remove({ ...ours }), EINVAL);
  assert.is(solaris.mod_remove(ours), 0);
  assert.is(solaris.mod_remove(ours), EINVAL);
  assert.is(attach(solaris, dip), DDI_FAILURE);
});

test('instances are the lowest free numbers, and known from attach to detach', async () => {
  const { solaris, dips } = await boot();
  const [first, second] = dips as [DevInfo, DevInfo];
  const seen: (readonly number[])[] = [];
  const note = (dip: DevInfo, cmd: number): number => {
    seen.push([solaris.ddi_get_instance(dip), cmd]);
    return DDI_SUCCESS;
  };
  install(solaris, { devo_attach: note, devo_detach: note });
  assertBug('DRV-dip', () => solaris.ddi_get_instance(first));
  for (const dip of [second, first]) assert.is(attach(solaris, dip), DDI_SUCCESS);
  assert.is(detach(solaris, second), DDI_SUCCESS);
  assert.is(attach(solaris, second), DDI_SUCCESS);
  assert.equal(seen, [
    [0, DDI_ATTACH],
    [1, DDI_ATTACH],
    [0, DDI_DETACH],
    [0, DDI_ATTACH],
  ]);
  assert.equal([solaris.ddi_driver_name(first), solaris.ddi_driver_major(first)], ['xx', 256]);
  assert.is(solaris.ddi_driver_major(new DevInfo(first.controller, 'yy')), -1);
  solaris.ddi_set_driver_private(first, 'mine');
  assert.equal([first, second].map(solaris.ddi_get_driver_private), ['mine', null]);
});

test('an attach that fails, or a probe that finds nothing, leaves no device and no nodes', async () => {
  const { solaris, dips } = await boot();
  const [dip] = dips as [DevInfo];
  let works = false;
  let probe = DDI_PROBE_FAILURE;
  let attached = 0;
  install(solaris, {
    devo_probe: () => probe,
    devo_attach: (one) => {
      attached++;
      solaris.ddi_create_minor_node(one, 'a', S_IFCHR, 0, DDI_PSEUDO, 0);
      return works ? DDI_SUCCESS : DDI_FAILURE;
    },
  });
  assert.equal([attach(solaris, dip), attached], [DDI_FAILURE, 0]);
  probe = 0; // DDI_PROBE_DONTCARE
  assert.equal([attach(solaris, dip), attached], [DDI_FAILURE, 1]);
  assert.equal(dip.minors, []);
  assertBug('DRV-dip', () => solaris.ddi_get_instance(dip));
  works = true;
  assert.equal([attach(solaris, dip), attached], [DDI_SUCCESS, 2]);
  assert.is(detach(solaris, dip), DDI_FAILURE, 'no devo_detach');
});

test('a driver that goes takes its interrupts along', async () => {
  const { solaris, dips } = await boot();
  const [dip] = dips as [DevInfo];
  const handles: DdiIntrHandle[] = [];
  install(solaris, {
    devo_attach: (one) => {
      solaris.ddi_intr_alloc(one, handles, DDI_INTR_TYPE_FIXED, 0, 1, new Pointer(), DDI_INTR_ALLOC_NORMAL);
      return DDI_FAILURE;
    },
  });
  assert.match(assertBug('DRV-left', () => attach(solaris, dip)).message, 'interrupt 0 of xx');
});

test('nodes: names differ, types and minor numbers are checked, and what was removed cannot be opened', async () => {
  const { solaris, dips } = await boot();
  const [dip] = dips as [DevInfo];
  const { ddi_create_minor_node: create, ddi_remove_minor_node: remove } = solaris;
  assertBug('DRV-dip', () => create(dip, 'a', S_IFCHR, 0, DDI_PSEUDO, 0));
  install(solaris);
  attach(solaris, dip);
  assert.is(create(dip, 'a', S_IFCHR, 3, DDI_PSEUDO, 0), DDI_SUCCESS);
  assert.is(create(dip, 'b', S_IFBLK, 3, DDI_PSEUDO, 0), DDI_SUCCESS);
  assert.is(create(dip, 'a', S_IFBLK, 4, DDI_PSEUDO, 0), DDI_FAILURE);
  assert.is(create(dip, '', S_IFCHR, 4, DDI_PSEUDO, 0), DDI_FAILURE);
  assert.is(create(dip, 'c', 0x8000, 4, DDI_PSEUDO, 0), DDI_FAILURE);
  for (const minor of [-1, 2 ** 18, 0.5])
    assert.is(create(dip, 'c', S_IFCHR, minor, DDI_PSEUDO, 0), DDI_FAILURE);
  const open = (path: string): number =>
    inThread(solaris, () => solaris.spec_open(path, FREAD, new Pointer<SpecFile>()));
  for (const path of ['xx@0:a', '/devices/xx@0:b']) assert.is(open(path), 0, path);
  for (const path of ['xx@0:c', 'xx@1:a', 'yy@0:a', 'xx:a', '']) assert.is(open(path), ENOENT, path);
  remove(dip, 'a');
  assert.equal([open('xx@0:a'), open('xx@0:b')], [ENOENT, 0]);
  remove(dip, null);
  assert.is(open('xx@0:b'), ENOENT);
});

test('devo_getinfo says which instance a device number is of', async () => {
  const { solaris, dips } = await boot();
  const [dip] = dips as [DevInfo];
  let answer: number | null = 0;
  const asked: (readonly number[])[] = [];
  install(solaris, {
    devo_getinfo: (_dip, infocmd, arg, resultp) => {
      asked.push([infocmd, getminor(arg)]);
      resultp.value = answer;
      return answer === null ? DDI_FAILURE : DDI_SUCCESS;
    },
  });
  attach(solaris, dip);
  solaris.ddi_create_minor_node(dip, 'a', S_IFCHR, 5, DDI_PSEUDO, 0);
  const open = (): number =>
    inThread(solaris, () => solaris.spec_open('xx@0:a', FREAD, new Pointer<SpecFile>()));
  assert.is(open(), 0);
  assert.equal(asked[0], [DDI_INFO_DEVT2INSTANCE, 5]);
  answer = 1;
  assert.is(open(), ENXIO, 'an instance that is not there');
  answer = null;
  assert.is(open(), ENXIO);
});

test('an open device is not detached, a driver may keep it, and one that detaches is not opened', async () => {
  const { solaris, dips } = await boot();
  const [dip] = dips as [DevInfo];
  let keeps = true;
  const opened: number[] = [];
  const open = (): number => inThread(solaris, () => solaris.spec_open('xx@0:a', FREAD, filep));
  const filep = new Pointer<SpecFile>();
  install(solaris, {
    *devo_detach() {
      opened.push(yield* solaris.spec_open('xx@0:a', FREAD, new Pointer<SpecFile>()));
      return keeps ? DDI_FAILURE : DDI_SUCCESS;
    },
  });
  attach(solaris, dip);
  solaris.ddi_create_minor_node(dip, 'a', S_IFCHR, 0, DDI_PSEUDO, 0);
  assert.is(open(), 0);
  const file = filep.value as SpecFile;
  assert.equal([detach(solaris, dip), opened], [DDI_FAILURE, []]);
  inThread(solaris, () => solaris.spec_close(file));
  assert.equal([detach(solaris, dip), opened], [DDI_FAILURE, [ENOENT]]);
  assert.is(open(), 0, 'it was kept');
  inThread(solaris, () => solaris.spec_close(filep.value as SpecFile));
  keeps = false;
  assert.is(detach(solaris, dip), DDI_SUCCESS);
  assert.is(open(), ENOENT);
});

test('INTR-02 quiesce stops every device at the highest interrupt level', async () => {
  const { solaris, dips } = await boot();
  const stopped: number[] = [];
  install(solaris, {
    devo_quiesce: (dip) => {
      assertBug('INTR-02', () => solaris.ddi_create_minor_node(dip, 'z', S_IFCHR, 0, DDI_PSEUDO, 0));
      stopped.push(solaris.ddi_get_instance(dip));
      return stopped.length === 1 ? DDI_SUCCESS : DDI_FAILURE;
    },
  });
  for (const dip of dips) attach(solaris, dip);
  assert.is(solaris.quiesce_devices(), 1);
  assert.equal(stopped, [0, 1]);
});

test('soft state: one for each item, from zalloc to free', async () => {
  const { solaris } = await boot();
  const statep = new Pointer<SoftState<{ opens: number }>>();
  assertBug('soft-state', () => solaris.ddi_get_soft_state(statep.value, 0));
  assert.is(
    solaris.ddi_soft_state_init(statep, () => ({ opens: 0 }), 1),
    0,
  );
  assert.is(
    solaris.ddi_soft_state_init(statep, () => ({ opens: 0 }), 1),
    EINVAL,
  );
  const { ddi_soft_state_zalloc, ddi_get_soft_state } = solaris;
  assert.is(ddi_get_soft_state(statep.value, 7), null);
  assert.is(ddi_soft_state_zalloc(statep.value, 7), DDI_SUCCESS);
  assert.is(ddi_soft_state_zalloc(statep.value, 7), DDI_FAILURE);
  assert.is(ddi_soft_state_zalloc(statep.value, -1), DDI_FAILURE);
  assert.is(ddi_soft_state_zalloc(statep.value, 8), DDI_SUCCESS);
  const state = ddi_get_soft_state(statep.value, 7);
  if (state !== null) state.opens++;
  assert.equal(ddi_get_soft_state(statep.value, 7), { opens: 1 });
  assert.equal(ddi_get_soft_state(statep.value, 8), { opens: 0 });
  solaris.ddi_soft_state_free(statep.value, 7);
  solaris.ddi_soft_state_free(statep.value, 7);
  assert.is(ddi_get_soft_state(statep.value, 7), null);
  solaris.ddi_soft_state_fini(statep);
  assertBug('soft-state', () => solaris.ddi_soft_state_fini(statep));
});
