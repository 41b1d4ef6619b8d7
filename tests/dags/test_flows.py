"""What `headrace plan` tells of DAGs is what the DAG files that there are say."""

from include.cli.flows import flows_of
from include.features.project import declared_tables
from include.products import PRODUCTS
from include.sources import SOURCES


def test_the_plan_tells_the_tasks_and_assets_of_each_dag(dag_bag):
    sources = {source.name: source for source in SOURCES}
    paths = {table.name: table.prefix for table in declared_tables()}
    flows = {
        flow.dag: flow for one in PRODUCTS for flow in flows_of(one, sources[one.source], paths)
    }  # one per DAG, though products share the first two
    assert len(flows) >= 3 + 3 * len(PRODUCTS)
    others = {source.name for source in SOURCES} - {product.source for product in PRODUCTS}
    of_products = {name for name in dag_bag["dags"] if name.partition("__")[2] not in others}
    assert flows.keys() == of_products - {"maintain_lake"}
    for name in flows:
        tasks = dag_bag["dags"][name]["tasks"]
        assert set(tasks) == flows[name].tasks, name
        outlets = {outlet for task in tasks.values() for outlet in task["outlets"]}
        assert outlets == set(flows[name].emits), name
        cron = dag_bag["dags"][name]["cron"]
        started_by = {*dag_bag["dags"][name]["triggers"], *([cron] if cron else [])}
        assert started_by == set(flows[name].started_by) - {"on demand"}, name
