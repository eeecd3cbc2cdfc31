//! Trees and lists written by hand.

use serde_json::{Value, json};

use super::super::joined;
use super::*;
use crate::format::OutputFormat;

/// A block without children.
fn leaf(id: &str, html: &str, sections: Value) -> Value {
    let block_type = id.split('/').nth(3).unwrap();
    json!({
        "id": id, "block_type": block_type, "html": html, "polygon": [[0.0, 1e-7]],
        "bbox": [0.0, 0.1], "children": null, "section_hierarchy": sections, "images": {},
    })
}

fn page_of(number: u32, children: &[Value], sections: Value) -> Value {
    let id = format!("/page/{number}/Page/9");
    let mut page = leaf(&id, "<content-ref src='x'></content-ref>", sections);
    page["children"] = children.into();
    page
}

/// As pydantic writes it.
fn text(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The keys in marker's order.
fn tree(pages: &[Value]) -> String {
    let children = text(&json!({"children": pages}));
    children.replace("\n}", ",\n  \"block_type\": \"Document\"\n}")
}

fn join_trees(parts: &[(Vec<u32>, String)]) -> Value {
    let parts: Vec<_> = parts
        .iter()
        .map(|(pages, text)| (pages.clone(), text.as_str()))
        .collect();
    serde_json::from_str(&joined(OutputFormat::Json, &parts).0).unwrap()
}

#[test]
fn pages_stay_in_order_and_links_lead_to_them() {
    let link = r##"<p>é "quoted" <a href="#page-2-4">x</a></p>"##;
    let one = [
        page_of(0, &[leaf("/page/0/Text/1", link, json!({}))], json!({})),
        page_of(1, &[], json!({})),
    ];
    let group = json!({
        "id": "/page/2/ListGroup/3", "block_type": "ListGroup", "html": "<ul></ul>",
        "children": [leaf("/page/2/ListItem/4", "<li>b</li>", json!({}))],
        "section_hierarchy": {}, "images": null,
    });
    let two = [page_of(
        2,
        &[leaf("/page/2/PageHeader/0", "", json!({})), group],
        json!({}),
    )];
    let joined = join_trees(&[(vec![0, 1], tree(&one)), (vec![2], tree(&two))]);
    let mut expected = json!({
        "children": [one[0], one[1], two[0]],
        "block_type": "Document",
    });
    expected["children"][0]["children"][0]["html"] = link.replace("#page-2-4", "#page-2").into();
    expected["children"][2]["children"][1]["children"][0]["html"] =
        "<span id=\"page-2\"></span><li>b</li>".into();
    assert_eq!(joined, expected);
}

#[test]
fn an_anchor_is_inside_a_paragraph_and_a_page_without_blocks_has_it_itself() {
    let html_with = |html: &str| {
        let first = leaf("/page/0/Text/0", "<a href=\"#page-1-0\">x</a>", json!({}));
        let target = match html {
            "" => page_of(1, &[], json!({})),
            _ => page_of(1, &[leaf("/page/1/Text/0", html, json!({}))], json!({})),
        };
        let parts = [
            (vec![0], tree(&[page_of(0, &[first], json!({}))])),
            (vec![1], tree(&[target])),
        ];
        let joined = join_trees(&parts);
        let page = &joined["children"][1];
        let block = if html.is_empty() {
            page
        } else {
            &page["children"][0]
        };
        block["html"].as_str().unwrap().to_owned()
    };
    let span = "<span id=\"page-1\"></span>";
    assert_eq!(
        html_with("<h2 a=\"b\">T</h2>"),
        format!("<h2 a=\"b\">{span}T</h2>")
    );
    assert_eq!(
        html_with("<table></table>"),
        format!("{span}<table></table>")
    );
    assert_eq!(
        html_with(""),
        format!("{span}<content-ref src='x'></content-ref>")
    );
}

#[test]
fn sections_go_on_in_the_next_part_until_a_heading_ends_them() {
    let header = |page: u32, level: u32, own: Value| {
        let id = format!("/page/{page}/SectionHeader/{level}");
        leaf(&id, "<h2>T</h2>", own)
    };
    let (chapter, section) = ("/page/0/SectionHeader/1", "/page/0/SectionHeader/3");
    let one = page_of(
        0,
        &[
            header(0, 1, json!({"1": chapter})),
            header(0, 3, json!({"1": chapter, "3": section})),
        ],
        json!({"1": chapter, "3": section}),
    );
    let second = "/page/1/SectionHeader/2";
    let two = page_of(
        1,
        &[
            leaf("/page/1/Text/0", "<p>a</p>", json!({})),
            header(1, 2, json!({"2": second})),
            leaf("/page/1/Text/1", "<p>b</p>", json!({"2": second})),
        ],
        json!({"2": second}),
    );
    let three = page_of(
        2,
        &[leaf("/page/2/Text/0", "<p>c</p>", json!({}))],
        json!({}),
    );
    let parts = [
        (vec![0], tree(std::slice::from_ref(&one))),
        (vec![1], tree(&[two])),
        (vec![2], tree(&[three])),
    ];
    let joined = join_trees(&parts);
    let sections = |page: usize, block: usize| {
        joined["children"][page]["children"][block]["section_hierarchy"].clone()
    };
    assert_eq!(joined["children"][0], one);
    assert_eq!(sections(1, 0), json!({"1": chapter, "3": section}));
    assert_eq!(sections(1, 1), json!({"1": chapter, "2": second}));
    assert_eq!(sections(1, 2), json!({"1": chapter, "2": second}));
    assert_eq!(
        joined["children"][1]["section_hierarchy"],
        json!({"1": chapter, "2": second})
    );
    assert_eq!(sections(2, 0), json!({"1": chapter, "2": second}));
}

#[test]
fn lists_are_joined_and_so_is_where_pages_are() {
    let list = |page: u32, html: &str| {
        let mut block = leaf(&format!("/page/{page}/Text/0"), html, json!({}));
        block["page"] = 95.into();
        let info = json!({page.to_string(): {"bbox": [0.0, 0.0, 1.0, 2.0]}});
        (
            block.clone(),
            text(&json!({"blocks": [block], "page_info": info, "x": 1})),
        )
    };
    let ((one, first), (two, second)) = (list(0, "<p>a</p>"), list(3, "<p>b</p>"));
    let parts = [(vec![0], first.as_str()), (vec![3], second.as_str())];
    let joined: Value = serde_json::from_str(&joined(OutputFormat::Chunks, &parts).0).unwrap();
    assert_eq!(
        joined["blocks"],
        json!([one, two]),
        "`page` as marker wrote it"
    );
    let info = joined["page_info"].as_object().unwrap();
    assert_eq!(info.keys().collect::<Vec<_>>(), ["0", "3"]);
    assert_eq!(joined["x"], 1);
}

#[test]
fn a_link_to_a_page_without_blocks_leads_to_the_next_block() {
    let with = |page: u32, blocks: Value| {
        text(&json!({"blocks": blocks, "page_info": {page.to_string(): {}}}))
    };
    let link = leaf("/page/0/Text/0", "<a href=\"#page-1-0\">x</a>", json!({}));
    let block = leaf("/page/2/Text/0", "<p>b</p>", json!({}));
    let texts = [
        with(0, json!([link])),
        with(1, json!([])),
        with(2, json!([block])),
    ];
    let parts: Vec<_> = (0..)
        .map(|page| vec![page])
        .zip(texts.iter().map(String::as_str))
        .collect();
    let joined: Value = serde_json::from_str(&joined(OutputFormat::Chunks, &parts).0).unwrap();
    let html = "<p><span id=\"page-1\"></span>b</p>";
    assert_eq!(joined["blocks"][1]["html"], html);
}

#[test]
fn nothing_changes_in_one_piece() {
    let pages = [page_of(
        4,
        &[leaf(
            "/page/4/Text/1",
            "<p>é\"</p>",
            json!({"1": "/page/4/SectionHeader/0"}),
        )],
        json!({}),
    )];
    for text in [tree(&pages), tree(&[])] {
        let listed = if text.contains("/page/4") {
            vec![4]
        } else {
            vec![]
        };
        assert_eq!(joined(OutputFormat::Json, &[(listed, &text)]).0, text);
    }
}

#[test]
fn what_is_not_of_these_pages_is_refused() {
    let text = tree(&[page_of(4, &[], json!({}))]);
    let refused = |shape, text: &str, pages: &[u32]| survey(shape, text, pages).unwrap_err();
    assert!(matches!(
        refused(Shape::Tree, &text, &[5]),
        ShapeError::Pages { .. }
    ));
    assert!(matches!(
        refused(Shape::Tree, &text, &[4, 5]),
        ShapeError::Pages { .. }
    ));
    assert!(matches!(
        refused(Shape::List, &text, &[4]),
        ShapeError::Missing("blocks")
    ));
    for bad in ["", "[]", "{\"children\": 7}", &text[..text.len() - 4]] {
        assert!(
            matches!(
                refused(Shape::Tree, bad, &[4]),
                ShapeError::Json(_) | ShapeError::Missing(_)
            ),
            "{bad}"
        );
    }
}
