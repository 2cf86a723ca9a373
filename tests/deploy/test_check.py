"""Plants mistakes, one each, and expects check.py to find them."""

import shutil
import tempfile
import unittest
from pathlib import Path

from check import check

ROOT = Path(__file__).parents[2]
COMPOSE = "docker-compose.yml"
KUBERNETES = "examples/kubernetes"

# File, what stands there, what is planted, what must be said about it.
MISTAKES = [
    (COMPOSE, "stop_grace_period: 20s", "stop_grace_periode: 20s", "stop_grace_periode"),
    (COMPOSE, "condition: service_healthy", "condition: healthy", "healthy"),
    (COMPOSE, "stop_grace_period: 20s", "stop_grace_period: 12s", "a stop can take 15 s"),
    (COMPOSE, '"worker-2:/var', '"worker-3:/var', "worker-3 is not among the volumes"),
    (COMPOSE, "networks: [front, store]", "networks: [front, stores]", "stores is not among the networks"),
    ("examples/traefik/dynamic.yml", "http://dispatcher-2:", "http://dispatcher-3:", "dispatcher-3"),
    (f"{KUBERNETES}/04-dispatcher-deployment.yaml", "periodSeconds: 10", "periodSecond: 10", "periodSecond"),
    (f"{KUBERNETES}/04-dispatcher-deployment.yaml", "replicas: 2", "replicas: two", "replicas"),
    (f"{KUBERNETES}/04-dispatcher-deployment.yaml", "PodDisruptionBudget", "PodDisruptionBudged", "find schema for kind PodDisruptionBudged"),
    (f"{KUBERNETES}/04-dispatcher-deployment.yaml", "GracePeriodSeconds: 30", "GracePeriodSeconds: 20", "a stop can take 20 s"),
    (f"{KUBERNETES}/04-dispatcher-deployment.yaml", "claimName: blobs", "claimName: blob", "no claim blob"),
    (f"{KUBERNETES}/05-dispatcher-service.yaml", "targetPort: http", "targetPort: web", "no port web"),
    (f"{KUBERNETES}/05-dispatcher-service.yaml", "{app: dispatcher}", "{app: dispatchers}", "selects no pods"),
    (f"{KUBERNETES}/06-redis-statefulset.yaml", "serviceName: redis", "serviceName: store", "no service store"),
    (f"{KUBERNETES}/07-worker-deployment.yaml", "{name: data, mount", "{name: date, mount", "no volume date"),
    (f"{KUBERNETES}/08-ingress-path-routing.yaml", "pathType: Exact", "pathtype: Exact", "pathType"),
    (f"{KUBERNETES}/08-ingress-path-routing.yaml", "{name: dispatcher,", "{name: task-master,", "task-master:http"),
    (f"{KUBERNETES}/01-traefik-rbac.yaml", "verbs: [update]", "verb: [update]", "verb"),
    (f"{KUBERNETES}/kustomization.yaml", "  - 09-network-policy.yaml\n", "", "09-network-policy.yaml"),
]


class Deployments(unittest.TestCase):
    def setUp(self):
        room = tempfile.TemporaryDirectory()
        self.addCleanup(room.cleanup)
        self.root = Path(room.name)
        shutil.copy(ROOT / COMPOSE, self.root)
        for part in (KUBERNETES, "examples/traefik"):
            shutil.copytree(ROOT / part, self.root / part)

    def test_they_are_good_as_they_stand(self):
        self.assertEqual(check(self.root), [])

    def test_every_planted_mistake_is_found(self):
        for name, right, wrong, complaint in MISTAKES:
            with self.subTest(wrong, file=name):
                path = self.root / name
                text = path.read_text()
                self.assertIn(right, text)
                path.write_text(text.replace(right, wrong, 1))
                found = check(self.root)
                path.write_text(text)
                self.assertIn(complaint, "\n".join(found))


if __name__ == "__main__":
    unittest.main()
